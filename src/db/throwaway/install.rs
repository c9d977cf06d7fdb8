//! The exact command that installs what is missing, for the platform at hand.

use nix::unistd::geteuid;

/// What a platform's package manager calls things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Platform {
    /// With the major version of PostgreSQL that the release ships, where known.
    Apt(Option<u32>),
    Dnf,
    Brew,
    Other,
}

/// Installs a server with its contrib modules.
pub(super) fn server_command() -> String {
    platform().server(geteuid().is_root())
}

/// Installs one extension of a server of version `major`; `None` where no package of it is known.
pub(super) fn extension_command(extension: &str, major: u32) -> Option<String> {
    platform().extension(extension, major, geteuid().is_root())
}

fn platform() -> Platform {
    if cfg!(target_os = "macos") {
        return Platform::Brew;
    }
    Platform::from_os_release(&std::fs::read_to_string("/etc/os-release").unwrap_or_default())
}

impl Platform {
    fn from_os_release(text: &str) -> Self {
        let value = |key: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
                .map(|v| v.trim_matches('"').to_owned())
                .unwrap_or_default()
        };
        let family = format!("{} {}", value("ID"), value("ID_LIKE"));
        let is = |names: &[&str]| family.split_whitespace().any(|word| names.contains(&word));
        if is(&["debian", "ubuntu"]) {
            let major = match (value("ID").as_str(), value("VERSION_ID").as_str()) {
                ("debian", "11") => Some(13),
                ("debian", "12") => Some(15),
                ("debian", "13") => Some(17),
                ("ubuntu", "22.04") => Some(14),
                ("ubuntu", "24.04") => Some(16),
                _ => None,
            };
            Self::Apt(major)
        } else if is(&["fedora", "rhel", "centos"]) {
            Self::Dnf
        } else {
            Self::Other
        }
    }

    fn server(self, root: bool) -> String {
        let sudo = if root { "" } else { "sudo " };
        match self {
            Self::Apt(Some(major)) => {
                format!("{sudo}apt-get install postgresql-{major} postgresql-{major}-hypopg")
            }
            Self::Apt(None) => format!("{sudo}apt-get install postgresql postgresql-contrib"),
            Self::Dnf => format!("{sudo}dnf install postgresql-server postgresql-contrib"),
            Self::Brew => "brew install postgresql@17".to_owned(),
            Self::Other => {
                "the server and contrib packages of PostgreSQL, with your package manager (https://www.postgresql.org/download/)".to_owned()
            }
        }
    }

    fn extension(self, extension: &str, major: u32, root: bool) -> Option<String> {
        let sudo = if root { "" } else { "sudo " };
        match (self, extension) {
            // Of the server at hand, which need not be the one that the release ships.
            (Self::Apt(_), "hypopg") => {
                Some(format!("{sudo}apt-get install postgresql-{major}-hypopg"))
            }
            (Self::Apt(_), "pg_stat_statements") => {
                Some(format!("{sudo}apt-get install postgresql-contrib"))
            }
            (Self::Dnf, "pg_stat_statements") => {
                Some(format!("{sudo}dnf install postgresql-contrib"))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Platform;

    #[test]
    fn knows_the_package_managers() {
        for (os_release, platform, command) in [
            (
                "ID=debian\nVERSION_ID=\"12\"\n",
                Platform::Apt(Some(15)),
                "sudo apt-get install postgresql-15 postgresql-15-hypopg",
            ),
            (
                "ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n",
                Platform::Apt(None),
                "sudo apt-get install postgresql postgresql-contrib",
            ),
            (
                "ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n",
                Platform::Dnf,
                "sudo dnf install postgresql-server postgresql-contrib",
            ),
        ] {
            let found = Platform::from_os_release(os_release);
            assert_eq!(found, platform);
            assert_eq!(found.server(false), command);
        }
        assert_eq!(Platform::from_os_release("ID=plan9"), Platform::Other);
        assert_eq!(
            Platform::Apt(Some(15)).extension("hypopg", 17, true),
            Some("apt-get install postgresql-17-hypopg".to_owned())
        );
    }
}
