#!/bin/sh
# Installs what `make demo` and `make test` need and this machine lacks: with apt-get, dnf or brew, as root or through
# sudo. Where nothing is missing it looks only at files, and ends at once.
set -eu

oldest_server=13
root=$(cd "$(dirname "$0")/.." && pwd)
PATH=$PATH:/usr/sbin:/sbin

say() { printf 'deps: %s\n' "$*"; }
die() {
    printf 'deps: %s\n' "$@" >&2
    exit 1
}
have() { command -v "$1" >/dev/null 2>&1; }
# Whether one of the paths, which may come from a pattern without a match, exists.
any() {
    for path in "$@"; do
        [ ! -e "$path" ] || return 0
    done
    return 1
}

# --- What is there -----------------------------------------------------------------------------------------------

check_cargo() {
    wanted=$(sed -n 's/^rust-version *= *"\(.*\)"/\1/p' "$root/Cargo.toml")
    have cargo || die "cargo is missing. Install Rust $wanted or later from https://rustup.rs:" \
        "  curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh"
    found=$(cargo --version | cut -d' ' -f2)
    printf '%s\n%s\n' "$wanted" "$found" | sort -V -C ||
        die "cargo is $found, and $wanted or later is needed: run \`rustup update stable\`, or see https://rustup.rs"
}

# `version folder` of every server, newest first, from the places where `dbtune` looks too.
servers() {
    if [ -n "${DBTUNE_PG_BIN:-}" ]; then
        set -- "$DBTUNE_PG_BIN/postgres"
    else
        config=$(command -v pg_config 2>/dev/null || true)
        set -- "$(command -v postgres || true)" "${config:+$("$config" --bindir 2>/dev/null || true)/postgres}" \
            /usr/lib/postgresql/*/bin/postgres /usr/pgsql-*/bin/postgres \
            /opt/homebrew/opt/postgresql*/bin/postgres /usr/local/opt/postgresql*/bin/postgres
    fi
    for postgres in "$@"; do
        [ -x "$postgres" ] || continue
        folder=$(dirname "$(readlink -f "$postgres")")
        [ -x "$folder/initdb" ] || continue
        version=$("$postgres" --version | sed 's/^[^0-9]*\([0-9][0-9]*\).*/\1/')
        [ "$version" -lt "$oldest_server" ] || echo "$version $folder"
    done | sort -rn
}

find_server() {
    newest=$(servers | head -n 1)
    server_version=${newest%% *}
    server_folder=${newest#* }
}

# Whether the newest server has a loadable library.
has_library() {
    config=$server_folder/pg_config
    [ -x "$config" ] || config=$(command -v pg_config) || return 0
    any "$("$config" --pkglibdir)/$1".*
}

# `bindgen` needs the library and the compiler's own headers.
has_libclang() {
    [ -z "${LIBCLANG_PATH:-}" ] || return 0
    any /usr/lib/llvm-*/lib/libclang*.so* /usr/lib*/libclang.so* /usr/lib/*/libclang*.so* /usr/local/lib/libclang.so* \
        /usr/lib*/llvm*/lib*/libclang.so* /opt/homebrew/opt/llvm*/lib/libclang.dylib \
        /usr/local/opt/llvm*/lib/libclang.dylib /Library/Developer/CommandLineTools/usr/lib/libclang.dylib \
        /Applications/Xcode.app/Contents/Developer/Toolchains/XcodeDefault.xctoolchain/usr/lib/libclang.dylib ||
        return 1
    [ "$(uname)" = Darwin ] || any /usr/lib/llvm-*/lib/clang/*/include/stddef.h /usr/lib*/clang/*/include/stddef.h
}

has_compiler() {
    have cc || return 1
    [ "$(uname)" = Darwin ] || any /usr/include/stdlib.h
}

# The names of what is missing: `needed` stops the build or the tests, `wanted` only leaves something out.
look() {
    find_server
    needed='' wanted=''
    has_compiler || needed="$needed compiler"
    has_libclang || needed="$needed libclang"
    # The tests look for processes left behind.
    have ps || needed="$needed ps"
    if [ -z "$server_version" ]; then
        needed="$needed server"
        wanted="$wanted hypopg"
    else
        has_library pg_stat_statements || needed="$needed contrib"
        has_library hypopg || wanted="$wanted hypopg"
    fi
    have pgbouncer || wanted="$wanted pgbouncer"
}

# --- What packages call it ---------------------------------------------------------------------------------------

manager() {
    if [ "$(uname)" = Darwin ]; then
        if have brew; then echo brew; fi
    elif have apt-get; then echo apt
    elif have dnf; then echo dnf
    fi
}

# The version of the server whose packages are meant: the one that is there, else the distribution's.
apt_version() {
    if [ -n "$server_version" ]; then
        echo "$server_version"
    elif apt_lists; then
        apt-cache depends postgresql 2>/dev/null | sed -n 's/.*Depends: postgresql-\([0-9][0-9]*\)$/\1/p' | head -n 1
    else
        case $(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release) in
        bullseye) echo 13 ;;
        jammy) echo 14 ;;
        bookworm) echo 15 ;;
        noble) echo 16 ;;
        trixie) echo 17 ;;
        esac
    fi
}

apt_lists() { any /var/lib/apt/lists/*_Packages*; }

packages() {
    case $1:$2 in
    apt:compiler) echo gcc libc6-dev ;;
    apt:libclang) echo libclang-dev ;;
    apt:ps) echo procps ;;
    apt:server) echo "postgresql${major:+-$major}" "postgresql-client${major:+-$major}" ;;
    apt:contrib) echo postgresql-contrib ;;
    apt:hypopg) echo "postgresql-${major:-NN}-hypopg" ;;
    dnf:compiler) echo gcc glibc-devel ;;
    dnf:libclang) echo clang-devel ;;
    dnf:ps) echo procps-ng ;;
    dnf:server) echo postgresql-server postgresql-contrib postgresql ;;
    dnf:contrib)
        # PostgreSQL's own repository has a package for each version.
        case $server_folder in
        /usr/pgsql-*) echo "postgresql$server_version-contrib" ;;
        *) echo postgresql-contrib ;;
        esac
        ;;
    dnf:hypopg) echo "hypopg${server_version:+_$server_version}" ;;
    brew:libclang) echo llvm ;;
    brew:server | brew:contrib) echo postgresql@17 ;;
    *:pgbouncer | brew:hypopg) echo "$2" ;;
    esac
}

# Whether the package manager has what one part of `wanted` needs.
offers() {
    if [ "$2" = hypopg ]; then
        # An extension from a package serves only a server from a package.
        case $server_folder in
        '' | /usr/lib/postgresql/* | /usr/pgsql-* | /usr/bin | /opt/homebrew/* | /usr/local/opt/*) ;;
        *) return 1 ;;
        esac
    fi
    name=$(packages "$1" "$2")
    case $1 in
    apt) ! apt_lists || LC_ALL=C apt-cache policy "$name" 2>/dev/null | grep -q 'Candidate: [^(]' ;;
    dnf) dnf -q info "$name" >/dev/null 2>&1 ;;
    brew) brew info --formula "$name" >/dev/null 2>&1 ;;
    esac
}

# The parts of `wanted` that can be had.
offered() {
    for part in $wanted; do
        if offers "$manager" "$part"; then echo "$part"; fi
    done
}

# --- Installing --------------------------------------------------------------------------------------------------

# A server package starts a database cluster, and pgbouncer itself, by default. Nobody asked for either, so both are
# held back while packages are installed; existing clusters are neither started nor restarted, and nothing stays behind.
# shellcheck disable=SC2016 # for the shell that runs it
apt_install='
    set -eu
    folder=/etc/postgresql-common/createcluster.d
    cluster=$folder/zz-dbtune.conf
    policy=/usr/sbin/policy-rc.d
    leave="rm -f $cluster"
    [ -e "$policy" ] || leave="$leave $policy"
    [ -d "$folder" ] || leave="$leave; rmdir --ignore-fail-on-non-empty $folder"
    trap "$leave" EXIT
    trap "exit 130" INT
    trap "exit 143" TERM HUP
    mkdir -p "$folder"
    echo "create_main_cluster = off" >"$cluster"
    if ! [ -e "$policy" ]; then
        printf "#!/bin/sh\nexit 101\n" >"$policy"
        chmod 755 "$policy"
    fi
    apt-get install -y -qq --no-install-recommends --no-upgrade -o DPkg::Lock::Timeout=300 \
        -o Dpkg::Use-Pty=0 "$@"
    case " $* " in *" pgbouncer "*) update-rc.d pgbouncer disable || true ;; esac
'

sudo=''
privileged() { $sudo "$@"; }

# Sets `sudo` to how privileges are had, nothing for root; fails where there is no way.
may_install() {
    [ "$(id -u)" != 0 ] || return 0
    have sudo || return 1
    sudo=sudo
    if [ -n "${CI:-}" ] || [ ! -t 0 ]; then
        # Without a person to answer it, sudo must not ask for a password.
        sudo='sudo -n'
        $sudo true 2>/dev/null
    else
        $sudo true
    fi
}

install_packages() {
    case $manager in
    apt) privileged env DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 sh -c "$apt_install" deps "$@" ;;
    dnf) privileged dnf install -y -q --setopt=install_weak_deps=False "$@" ;;
    brew) HOMEBREW_NO_AUTO_UPDATE=1 brew install --quiet "$@" ;;
    esac </dev/null >"$log" 2>&1
}

command_for() {
    case $1 in
    apt) echo 'apt-get update && apt-get install' ;;
    dnf) echo 'dnf install' ;;
    brew) echo 'brew install' ;;
    esac
}

explain() {
    case $1 in
    hypopg) say "no HypoPG for PostgreSQL ${server_version:-here}: dbtune reports it, and tries indexes on clones instead" ;;
    pgbouncer) say 'no pgbouncer: the tests through a pooler cannot pass here' ;;
    esac
}

check_cargo
look
[ -n "$needed$wanted" ] || exit 0

manager=$(manager)
[ -n "$manager" ] || {
    [ -z "$needed" ] || die "missing:$needed. Install them with your package manager (no apt-get, dnf or brew here)."
    for part in $wanted; do explain "$part"; done
    exit 0
}
case " $needed " in
*' compiler '*) [ "$manager" != brew ] || die 'no C compiler: run xcode-select --install first' ;;
esac

log=$(mktemp)
trap 'rm -f "$log"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

permitted=yes
[ "$manager" = brew ] || may_install || permitted=no
major=''
[ "$manager" != apt ] || major=$(apt_version)

# Lists are read anew only before something is installed, so that what cannot be had costs no time at every start.
if [ "$manager:$permitted" = apt:yes ] && [ -n "$needed$(offered)" ]; then
    say 'reading package lists'
    privileged apt-get update -qq -o DPkg::Lock::Timeout=300 </dev/null >"$log" 2>&1 ||
        say "apt-get update failed, going on with the lists at hand: $(tail -n 1 "$log")"
    major=$(apt_version)
fi

list=''
for part in $needed $(offered); do
    list="$list $(packages "$manager" "$part")"
done
if [ -n "$list" ] && [ "$permitted" = no ]; then
    advice="deps:   $(command_for "$manager")$list"
    why='neither root nor allowed to use sudo (here without a password). Have an administrator run:'
    [ -z "$needed" ] || die "missing:$needed$wanted; $why
$advice"
    # What the build and the tests can do without stops nobody.
    say "missing:$wanted; $why
$advice"
elif [ -n "$list" ]; then
    say "installing$list"
    # shellcheck disable=SC2086 # a list of names
    if ! install_packages $list; then
        tail -n 30 "$log" >&2
        [ -z "$needed" ] || die "could not install$list"
        say "could not install$list"
    fi
    look
    [ -z "$needed" ] || die "installed, yet not found:$needed. What the package manager said:" "$(tail -n 20 "$log")"
fi
for part in $wanted; do explain "$part"; done
