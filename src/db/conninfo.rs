//! Connection settings as libpq writes them: URLs, `keyword=value` pairs, service files and password files.

use super::Result;
use super::target::{Env, bad};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Stands where a URL names no host; reserved by RFC 2606, so nobody's.
const NO_HOST: &str = "none.invalid";

pub(super) fn home(env: &Env, file: &str) -> Option<PathBuf> {
    env.get("HOME").map(|home| Path::new(home).join(file))
}

pub(super) fn from_url(text: &str) -> Result<BTreeMap<String, String>> {
    // libpq allows an empty host, which then comes from `?host=`; the URL standard does not.
    let text = text.replacen("@/", &format!("@{NO_HOST}/"), 1);
    let text = text.replacen(":///", &format!("://{NO_HOST}/"), 1);
    // The text itself stays out of the message: it may hold a password.
    let url =
        url::Url::parse(&text).map_err(|e| bad(format!("the database URL is malformed: {e}")))?;
    if !matches!(url.scheme(), "postgres" | "postgresql") {
        return Err(bad(format!(
            "the database URL starts with `{}://`",
            url.scheme()
        ))
        .advise("Write it as postgresql://user@host:5432/database."));
    }
    let decode = |part: &str| {
        percent_encoding::percent_decode_str(part)
            .decode_utf8_lossy()
            .into_owned()
    };
    let mut params = BTreeMap::new();
    let mut put = |key: &str, value: Option<String>| {
        if let Some(value) = value.filter(|v| !v.is_empty()) {
            params.insert(key.to_owned(), value);
        }
    };
    put("user", Some(decode(url.username())));
    put("password", url.password().map(decode));
    put(
        "host",
        url.host_str()
            .filter(|h| *h != NO_HOST)
            .map(|h| decode(h.trim_start_matches('[').trim_end_matches(']'))),
    );
    put("port", url.port().map(|p| p.to_string()));
    put("dbname", Some(decode(url.path().trim_start_matches('/'))));
    for (key, value) in url.query_pairs() {
        put(&key, Some(value.into_owned()));
    }
    Ok(params)
}

pub(super) fn from_pairs(text: &str) -> Result<BTreeMap<String, String>> {
    let mut params = BTreeMap::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (key, after) = rest.split_once('=').ok_or_else(|| {
            bad("`--db` is neither a URL nor keyword=value pairs")
                .advise("Write it as postgresql://user@host:5432/database.")
        })?;
        let mut value = String::new();
        let mut chars = after.trim_start().chars();
        let quoted = chars.as_str().starts_with('\'');
        if quoted {
            chars.next();
        }
        while let Some(c) = chars.next() {
            match c {
                '\\' => value.extend(chars.next()),
                '\'' if quoted => break,
                c if !quoted && c.is_whitespace() => break,
                c => value.push(c),
            }
        }
        rest = chars.as_str().trim_start();
        params.insert(key.trim().to_owned(), value);
    }
    Ok(params)
}

pub(super) fn read_service(name: &str, env: &Env) -> Result<BTreeMap<String, String>> {
    let files = [
        env.get("PGSERVICEFILE").map(PathBuf::from),
        home(env, ".pg_service.conf"),
        env.get("PGSYSCONFDIR")
            .map(|dir| Path::new(dir).join("pg_service.conf")),
        Some(PathBuf::from("/etc/postgresql-common/pg_service.conf")),
    ];
    let mut found = BTreeMap::new();
    let mut inside = false;
    for text in files
        .into_iter()
        .flatten()
        .filter_map(|f| std::fs::read_to_string(f).ok())
    {
        for line in text.lines().map(str::trim).filter(|l| !l.starts_with('#')) {
            if let Some(section) = line.strip_prefix('[') {
                inside = section.trim_end_matches(']') == name;
            } else if let Some((key, value)) = line.split_once('=').filter(|_| inside) {
                found.insert(key.trim().to_owned(), value.trim().to_owned());
            }
        }
        if !found.is_empty() {
            return Ok(found);
        }
    }
    Err(bad(format!("service `{name}` is in no pg_service.conf"))
        .advise("Set PGSERVICEFILE, or add the service to ~/.pg_service.conf."))
}

/// `hostname:port:database:username:password`, the first line that matches; `*` matches anything.
pub(super) fn password_from_file(
    file: PathBuf,
    host: &str,
    port: u16,
    dbname: &str,
    user: &str,
) -> Option<String> {
    let port = port.to_string();
    let host = if host.starts_with('/') {
        "localhost"
    } else {
        host
    };
    std::fs::read_to_string(file)
        .ok()?
        .lines()
        .find_map(|line| {
            let fields = pgpass_fields(line);
            let [h, p, d, u, password] = fields.as_slice() else {
                return None;
            };
            let is = |pattern: &str, value: &str| pattern == "*" || pattern == value;
            (is(h, host) && is(p, &port) && is(d, dbname) && is(u, user)).then(|| password.clone())
        })
}

fn pgpass_fields(line: &str) -> Vec<String> {
    if line.starts_with('#') {
        return Vec::new();
    }
    let mut fields = vec![String::new()];
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        let in_password = fields.len() == 5;
        match (c, fields.last_mut()) {
            ('\\', Some(field)) => field.extend(chars.next()),
            (':', _) if !in_password => fields.push(String::new()),
            (c, Some(field)) => field.push(c),
            (_, None) => {}
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pgpass_lines() {
        assert_eq!(
            pgpass_fields(r"h:1:d:u:a\:b:c"),
            ["h", "1", "d", "u", "a:b:c"]
        );
        assert!(pgpass_fields("# h:1:d:u:p").is_empty());
    }
}
