"""The throwaway server and the programs that are compared."""

import json
import os
import pathlib
import subprocess
import sys

import psycopg

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
SPLINTER = pathlib.Path(os.environ["SPLINTER_SQL"])
SOCKET = os.environ["SOCKET"]
DBTUNE = os.environ["DBTUNE"]
PGRLS = os.environ["PGRLS"]


def url(database, user="postgres"):
    return f"postgresql://{user}@/{database}?host={SOCKET}"


def connect(database, user="postgres"):
    return psycopg.connect(url(database, user), autocommit=True)


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    if not done.stdout.strip():
        sys.exit(f"{' '.join(command)}: {done.stderr}")
    return json.loads(done.stdout)
