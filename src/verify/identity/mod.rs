//! Who asks: sessions that tell a change of access apart, found in the policies of both sides and in the data.

mod asks;
mod assemble;
mod constants;
mod crowd;
mod fill;
mod rank;
mod reader;
mod roles;
mod signature;
mod size;
mod stranger;

use crate::db::{Result, Session};
use crate::model::{Catalog, Gap, Persona};
use reader::Reader;
use serde::{Deserialize, Serialize};

/// Why a session is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Named by the caller.
    Asked,
    /// No setting was ever made: open a fresh connection for it, because one that had a setting keeps it as an empty text.
    NoClaims,
    /// A value that no row holds.
    Stranger,
    /// Of the tenant with the fewest rows; where there are no tenants, whose rows are the fewest.
    Smallest,
    Median,
    Biggest,
    /// One of all, where they are few.
    EveryUser,
    TwoMemberships,
    OneMembership,
    NoMembership,
    /// Chosen so that each flag, enum or time that policies test of users and memberships is seen on either side.
    Flagged,
    /// Whom most rows of one table belong to.
    FrequentOwner,
    /// Claims that do not belong together: the one is somebody's, the other somebody else's.
    Crossed,
    /// The role that owns a guarded table: FORCE and a change of owner show with it.
    Owner,
    /// A claim holds a constant that policies or bodies compare it with, or a value beside it.
    RoleClaim,
    /// Every setting is an empty text.
    EmptyClaims,
    /// Every document is `{}`.
    EmptyObject,
    /// What cannot be read as a document or as a value of its type.
    Malformed,
    /// A role whose policies do not ask for a user, carrying one.
    OtherRole,
}

/// A session to look with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub persona: Persona,
    pub kind: Kind,
    /// In words, without any value of a row.
    pub about: String,
}

/// What [`find`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The most telling first; those that were asked for before all others.
    pub identities: Vec<Identity>,
    pub gaps: Vec<Gap>,
}

impl Found {
    /// Adds those of `later` that are not among them, under names of their own.
    pub fn join(&mut self, later: Self) {
        for mut identity in later.identities {
            let known = self.identities.iter().any(|i| {
                i.persona.role == identity.persona.role
                    && i.persona.settings == identity.persona.settings
            });
            if !known {
                identity.persona.name.push_str("_after");
                self.identities.push(identity);
            }
        }
    }
}

/// Looks for at most `most` sessions beside those in `asked`.
///
/// `session` is connected to a clone of the side before the change, best as the owner of its tables: everything happens
/// in one transaction that is rolled back. `catalogs` are those of the sides before and after.
///
/// # Errors
/// When the connection is lost. What cannot be read is a gap.
pub async fn find(
    session: &Session,
    catalogs: (&Catalog, &Catalog),
    asked: &[Persona],
    most: usize,
) -> Result<Found> {
    let asks = asks::Asks::of(catalogs);
    let mut gaps = asks.gaps();
    let mut reader = Reader::open(session, catalogs.0).await?;
    let read = read(&mut reader, catalogs, &asks, &mut gaps).await;
    let (roles, crowds) = reader.close(&mut gaps).await.and(read)?;
    let everyone = assemble::identities(&asks, &roles, &crowds);
    gaps.extend(rank::unfilled(&asks, &everyone));
    let identities = rank::ranked(asked, everyone, most, &mut gaps);
    gaps.sort();
    gaps.dedup();
    Ok(Found { identities, gaps })
}

async fn read(
    reader: &mut Reader<'_>,
    catalogs: (&Catalog, &Catalog),
    asks: &asks::Asks,
    gaps: &mut Vec<Gap>,
) -> Result<(Vec<roles::Role>, Vec<crowd::Crowd>)> {
    reader.uncover(&asks.tables()).await?;
    let named = reader.role_names(&asks.ties.user).await?;
    let roles = roles::find(catalogs, asks, &named, gaps);
    let mut crowds = Vec::new();
    for subject in &asks.subjects {
        crowds.push(crowd::find(reader, asks, subject).await?);
    }
    for at in 0..crowds.len() {
        fill::beside(reader, asks, &mut crowds, at).await?;
    }
    Ok((roles, crowds))
}
