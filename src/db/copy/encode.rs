//! PostgreSQL's binary formats of the types that [`Cell`] can fill.

use super::Cell;
use std::net::IpAddr;
use tokio_postgres::types::{Kind, Type};

/// PostgreSQL counts from 2000-01-01.
const EPOCH_DAYS: i32 = 10_957;
const DAY_MICROS: i64 = 86_400_000_000;

/// Why a cell cannot go into a column.
pub(super) type Mismatch = String;

/// Appends length and value of one field.
pub(super) fn field(cell: &Cell, ty: &Type, out: &mut Vec<u8>) -> Result<(), Mismatch> {
    if cell.is_null() {
        out.extend((-1_i32).to_be_bytes());
        return Ok(());
    }
    sized(out, |out| value(cell, ty, out))
}

/// Writes `body` after its length in four bytes.
fn sized(
    out: &mut Vec<u8>,
    body: impl FnOnce(&mut Vec<u8>) -> Result<(), Mismatch>,
) -> Result<(), Mismatch> {
    let start = out.len();
    out.extend([0; 4]);
    body(out)?;
    let length = i32::try_from(out.len() - start - 4).map_err(|_| "the value is over 2 GB")?;
    if let Some(place) = out.get_mut(start..start + 4) {
        place.copy_from_slice(&length.to_be_bytes());
    }
    Ok(())
}

fn value(cell: &Cell, ty: &Type, out: &mut Vec<u8>) -> Result<(), Mismatch> {
    match ty.kind() {
        Kind::Domain(base) => return value(cell, base, out),
        Kind::Enum(labels) => return enum_label(cell, labels, out),
        Kind::Array(element) => return array(cell, element, out),
        _ => {}
    }
    match *ty {
        Type::BOOL => out.push(u8::from(boolean(cell)?)),
        Type::INT2 => out.extend(integer::<i16>(cell)?.to_be_bytes()),
        Type::INT4 => out.extend(integer::<i32>(cell)?.to_be_bytes()),
        Type::INT8 => out.extend(integer::<i64>(cell)?.to_be_bytes()),
        Type::OID => out.extend(integer::<u32>(cell)?.to_be_bytes()),
        Type::FLOAT4 => {
            #[expect(clippy::cast_possible_truncation, reason = "the column is this narrow")]
            out.extend((float(cell)? as f32).to_be_bytes());
        }
        Type::FLOAT8 => out.extend(float(cell)?.to_be_bytes()),
        Type::NUMERIC => numeric(cell, out)?,
        Type::UUID => match cell {
            Cell::Uuid(value) => out.extend(value.to_be_bytes()),
            _ => return mismatch(cell),
        },
        Type::DATE => out.extend((days(cell)? - EPOCH_DAYS).to_be_bytes()),
        Type::TIMESTAMP | Type::TIMESTAMPTZ => {
            let since = micros(cell)? - i64::from(EPOCH_DAYS) * DAY_MICROS;
            out.extend(since.to_be_bytes());
        }
        Type::TIME => out.extend((integer::<i64>(cell)? * 1_000_000).to_be_bytes()),
        Type::INTERVAL => {
            out.extend((integer::<i64>(cell)? * 1_000_000).to_be_bytes());
            out.extend([0; 8]);
        }
        Type::JSON => out.extend(json(cell)?.as_bytes()),
        Type::JSONB => {
            out.push(1);
            out.extend(json(cell)?.as_bytes());
        }
        Type::INET | Type::CIDR => address(cell, *ty == Type::CIDR, out)?,
        Type::BYTEA => out.extend(text(cell)?.as_bytes()),
        _ if is_text(ty) => out.extend(text(cell)?.as_bytes()),
        _ => return Err("no generator can fill this type".to_owned()),
    }
    Ok(())
}

fn is_text(ty: &Type) -> bool {
    [Type::TEXT, Type::VARCHAR, Type::BPCHAR, Type::NAME].contains(ty) || ty.name() == "citext"
}

fn mismatch<T>(cell: &Cell) -> Result<T, Mismatch> {
    Err(format!("the generator yields {}", cell.kind()))
}

fn text(cell: &Cell) -> Result<String, Mismatch> {
    match cell {
        Cell::Uuid(value) => Ok(uuid::Uuid::from_u128(*value).to_string()),
        Cell::Json(text) => Ok(text.clone()),
        _ => cell.label().map_or_else(|| mismatch(cell), Ok),
    }
}

fn enum_label(cell: &Cell, labels: &[String], out: &mut Vec<u8>) -> Result<(), Mismatch> {
    let label = text(cell)?;
    if !labels.contains(&label) {
        return Err(format!(
            "the generator yields a label it does not have (it has {})",
            labels.join(", ")
        ));
    }
    out.extend(label.as_bytes());
    Ok(())
}

fn array(cell: &Cell, element: &Type, out: &mut Vec<u8>) -> Result<(), Mismatch> {
    let Cell::Texts(items) = cell else {
        return mismatch(cell);
    };
    let count = i32::try_from(items.len()).map_err(|_| "the array is too long")?;
    out.extend(i32::from(count > 0).to_be_bytes());
    out.extend([0; 4]);
    out.extend(element.oid().to_be_bytes());
    if count > 0 {
        out.extend(count.to_be_bytes());
        out.extend(1_i32.to_be_bytes());
    }
    for item in items {
        field(&Cell::Text(item.clone()), element, out)?;
    }
    Ok(())
}

fn boolean(cell: &Cell) -> Result<bool, Mismatch> {
    match (cell, cell.label().as_deref()) {
        (Cell::Bool(value), _) => Ok(*value),
        (_, Some("true")) => Ok(true),
        (_, Some("false")) => Ok(false),
        _ => mismatch(cell),
    }
}

fn integer<T: TryFrom<i64>>(cell: &Cell) -> Result<T, Mismatch> {
    let wide = match cell {
        Cell::Int(value) => *value,
        Cell::Text(text) => text
            .parse()
            .map_err(|_| "the generator yields text that is no integer")?,
        _ => return mismatch(cell),
    };
    T::try_from(wide).map_err(|_| "the generator yields a number out of its range".to_owned())
}

fn float(cell: &Cell) -> Result<f64, Mismatch> {
    cell.label()
        .and_then(|text| text.parse().ok())
        .map_or_else(|| mismatch(cell), Ok)
}

fn days(cell: &Cell) -> Result<i32, Mismatch> {
    match cell {
        Cell::Date(days) => Ok(*days),
        Cell::Timestamp(micros) => i32::try_from(micros.div_euclid(DAY_MICROS))
            .map_err(|_| "the generator yields a date out of its range".to_owned()),
        _ => mismatch(cell),
    }
}

fn micros(cell: &Cell) -> Result<i64, Mismatch> {
    match cell {
        Cell::Timestamp(micros) => Ok(*micros),
        Cell::Date(days) => Ok(i64::from(*days) * DAY_MICROS),
        _ => mismatch(cell),
    }
}

fn json(cell: &Cell) -> Result<&str, Mismatch> {
    match cell {
        Cell::Json(text) => Ok(text),
        _ => mismatch(cell),
    }
}

fn address(cell: &Cell, cidr: bool, out: &mut Vec<u8>) -> Result<(), Mismatch> {
    let address: IpAddr = text(cell)?
        .parse()
        .map_err(|_| "the generator yields text that is no address")?;
    // Family, netmask bits, whether it is a network, length, bytes. PostgreSQL's families are its own numbers.
    match address {
        IpAddr::V4(v4) => {
            out.extend([2, 32, u8::from(cidr), 4]);
            out.extend(v4.octets());
        }
        IpAddr::V6(v6) => {
            out.extend([3, 128, u8::from(cidr), 16]);
            out.extend(v6.octets());
        }
    }
    Ok(())
}

/// Digits of base 10000, most significant first, and where the point stands among them.
fn numeric(cell: &Cell, out: &mut Vec<u8>) -> Result<(), Mismatch> {
    let (unscaled, places) = match cell {
        Cell::Int(value) => (*value, 0),
        Cell::Decimal { unscaled, places } => (*unscaled, *places),
        Cell::Text(_) => (integer::<i64>(cell)?, 0),
        _ => return mismatch(cell),
    };
    let padding = (4 - places % 4) % 4;
    let mut rest = u128::from(unscaled.unsigned_abs()) * 10_u128.pow(u32::from(padding));
    let mut digits = Vec::new();
    while rest > 0 {
        digits.push(i16::try_from(rest % 10_000).unwrap_or_default());
        rest /= 10_000;
    }
    digits.reverse();
    let small = |n: usize| i16::try_from(n).unwrap_or(i16::MAX);
    let after_point = i16::from((places + padding) / 4);
    let weight = small(digits.len()) - after_point - 1;
    while digits.last() == Some(&0) {
        digits.pop();
    }
    let sign: u16 = if unscaled < 0 { 0x4000 } else { 0 };
    out.extend(small(digits.len()).to_be_bytes());
    out.extend(weight.to_be_bytes());
    out.extend(sign.to_be_bytes());
    out.extend(i16::from(places).to_be_bytes());
    for digit in digits {
        out.extend(digit.to_be_bytes());
    }
    Ok(())
}
