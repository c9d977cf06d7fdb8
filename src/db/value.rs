//! Parameters as text, whatever their type: the server reads them with the type's own input function.

use super::{Error, Result, Session};
use bytes::BytesMut;
use tokio_postgres::types::{Format, IsNull, Kind, ToSql, Type};

/// One parameter; its text is never printed.
pub(super) struct Value<'a>(pub(super) Option<&'a str>);

impl std::fmt::Debug for Value<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_some() { "Value" } else { "NULL" })
    }
}

impl ToSql for Value<'_> {
    fn to_sql(
        &self,
        _: &Type,
        out: &mut BytesMut,
    ) -> std::result::Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match self.0 {
            None => Ok(IsNull::Yes),
            Some(text) => {
                out.extend_from_slice(text.as_bytes());
                Ok(IsNull::No)
            }
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn to_sql_checked(
        &self,
        ty: &Type,
        out: &mut BytesMut,
    ) -> std::result::Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        self.to_sql(ty, out)
    }

    fn encode_format(&self, _: &Type) -> Format {
        Format::Text
    }
}

/// The server's types by name, as the current role and search path see them.
pub(super) async fn types(session: &Session, query: &str, names: &[String]) -> Result<Vec<Type>> {
    let mut types = Vec::with_capacity(names.len());
    for (number, name) in (1..).zip(names) {
        let doing = || format!("find the type {name} of ${number} in {query}");
        let oid: u32 = session
            .client()
            .query_one("select $1::text::regtype::oid", &[name])
            .await
            .and_then(|row| row.try_get(0))
            .map_err(|e| Error::pg(doing(), &e))?;
        types.push(
            Type::from_oid(oid)
                .unwrap_or_else(|| Type::new(name.clone(), oid, Kind::Simple, String::new())),
        );
    }
    Ok(types)
}

/// FNV-1a: not for adversaries, but the same on every machine and in every version, as recorded baselines need.
pub(super) struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    pub(super) fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    pub(super) fn value(&self) -> u64 {
        self.0
    }
}
