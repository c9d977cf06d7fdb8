use crate::db::{Error, Result};
use nix::unistd::{User, geteuid};
use std::collections::BTreeMap;

/// The unprivileged user a server runs as: PostgreSQL refuses to run as root.
#[derive(Clone, Debug)]
pub(super) struct Account {
    pub(super) name: String,
    pub(super) uid: u32,
    pub(super) gid: u32,
}

impl Account {
    /// `None` where this process is not root, so the server runs as the same user.
    pub(super) fn for_server(env: &BTreeMap<String, String>) -> Result<Option<Self>> {
        if !geteuid().is_root() {
            return Ok(None);
        }
        let names = ["postgres", "_postgres"]
            .into_iter()
            .chain(env.get("SUDO_USER").map(String::as_str))
            .chain(["nobody"]);
        for name in names {
            if let Ok(Some(user)) = User::from_name(name)
                && !user.uid.is_root()
            {
                return Ok(Some(Self {
                    name: user.name,
                    uid: user.uid.as_raw(),
                    gid: user.gid.as_raw(),
                }));
            }
        }
        Err(Error::new(
            "start a throwaway server",
            "PostgreSQL refuses to run as root, and there is no other user to run it as",
        )
        .advise("Create one: useradd --system postgres"))
    }
}
