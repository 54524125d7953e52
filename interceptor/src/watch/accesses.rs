//! Accesses to sealed content and acts that change what the log keeps, told in notes of the log. They are in a stream of
//! their own, written by whoever unseals; by a note they come to the sinks, and cannot be removed from one stream alone.

use std::path::{Path, PathBuf};

use serde::{Deserialize as _, Serialize};
use serde_json::Value;

use crate::audit::{
    Access, Act, Error, FollowError, FollowPosition, Followed, Follower, Note, Notes, Outcome, Probe, Said, Stream,
    VerifyingKey,
};
use crate::sinks::{Cursor, CursorError};

/// Has a dot, which no sink's name has.
const CURSOR: &str = "log.accesses";

/// Why there is no note of an access yet.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    #[error(transparent)]
    Follow(#[from] FollowError),
    #[error(transparent)]
    Cursor(#[from] CursorError),
    #[error("accesses are not in it yet: {0}")]
    Note(#[from] Error),
}

/// The accesses and acts of a log.
pub(super) struct Accesses {
    audit: PathBuf,
    key: VerifyingKey,
    cursors: PathBuf,
    open: Option<(Cursor, Follower)>,
}

#[derive(Serialize)]
struct Content<'a> {
    event: &'static str,
    /// In words.
    reason: String,
    /// Of its frame in the stream of accesses.
    sequence: u64,
    leaf_hash: &'a str,
    said: Value,
}

impl Accesses {
    pub(super) fn new(audit: PathBuf, key: VerifyingKey, cursors: PathBuf) -> Self {
        Self { audit, key, cursors, open: None }
    }

    /// Adds a note for each that there is none of yet; again, where this process died in between. `probe` is of the log that
    /// the notes are in.
    pub(super) async fn note(&mut self, notes: &Notes, probe: &Probe) -> Result<(), Trouble> {
        let (cursor, follower) = match &mut self.open {
            Some(open) => open,
            closed => match begin(&self.audit, &self.key, &self.cursors)? {
                Some(open) => closed.insert(open),
                // The daemon that this one replaces still tells them.
                None => return Ok(()),
            },
        };
        let told = tell(cursor, follower, notes, probe).await;
        if let Err(trouble) = &told {
            if let Trouble::Follow(FollowError::Replaced(_)) = trouble {
                // All that is there now is told.
                cursor.advance(FollowPosition::default())?;
            }
            self.open = None;
        }
        told
    }
}

fn begin(audit: &Path, key: &VerifyingKey, cursors: &Path) -> Result<Option<(Cursor, Follower)>, Trouble> {
    let Some(mut cursor) = Cursor::take(cursors, CURSOR)? else { return Ok(None) };
    let position = match cursor.position() {
        Some(position) => position.clone(),
        None => {
            let end = Follower::end(audit, Stream::Access, key);
            cursor.advance(end.clone())?;
            end
        }
    };
    match Follower::open_stream(audit, Stream::Access, key, position) {
        Err(error @ FollowError::Replaced(_)) => {
            cursor.advance(FollowPosition::default())?;
            Err(error.into())
        }
        follower => Ok(Some((cursor, follower?))),
    }
}

async fn tell(cursor: &mut Cursor, follower: &mut Follower, notes: &Notes, probe: &Probe) -> Result<(), Trouble> {
    let mut reached = None;
    let added = add(&mut reached, follower, notes);
    // Also when the next could not be added: these must not be told again and again.
    if let Some(position) = reached {
        // Else a loss of power could leave a cursor behind an access that there is no note of.
        probe.settled().await?;
        cursor.advance(position)?;
    }
    added
}

/// Adds a note for each that is new; `reached` is where the last of them is.
fn add(reached: &mut Option<FollowPosition>, follower: &mut Follower, notes: &Notes) -> Result<(), Trouble> {
    follower.refresh();
    while let Some(Followed { said, position }) = follower.next()? {
        if let Said::Note(note) = said {
            notes.add(&content(&note))?;
        }
        *reached = Some(position);
    }
    Ok(())
}

fn content(note: &Note) -> Content<'_> {
    let mut said = note.content.clone();
    // Of an act: as long as the log, and there to be read in its own stream.
    said.as_object_mut().map(|members| members.remove("frames"));
    let who = |user: &Option<String>, uid: u32| user.clone().unwrap_or_else(|| format!("uid {uid}"));
    let (event, reason) = match (Access::deserialize(&note.content), Act::deserialize(&note.content)) {
        (Ok(access), _) => {
            let verb = match access.outcome {
                Outcome::Opened => "unsealed",
                Outcome::Refused => "tried to unseal",
            };
            (Note::ACCESS, format!("{} {verb} {}: {}", who(&access.user, access.uid), access.exchange, access.reason))
        }
        (_, Ok(act)) => (Note::ACT, format!("{} {}: {}", who(&act.user, act.uid), act.deed, act.reason)),
        _ => (Note::ACCESS, "what was done cannot be read".to_owned()),
    };
    Content { event, reason, sequence: note.sequence, leaf_hash: &note.leaf_hash, said }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{AuditorSecret, Deed, Durability, Log, Reader, Settings, Time};
    use crate::flow::ExchangeId;

    fn log(dir: &std::path::Path) -> Log {
        Log::open(Settings {
            dir: dir.join("audit"),
            keys: dir.join("keys"),
            host: "testhost".into(),
            durability: Durability::Process,
            auditors: vec![AuditorSecret::generate().public()],
            threshold: 1,
            segment_bytes: 64 << 10,
            accept_missing_checkpoint: false,
        })
        .unwrap()
    }

    #[tokio::test]
    async fn each_is_told_once_from_the_first_start_on() {
        let dir = tempfile::tempdir().unwrap();
        let (audit, keys) = (dir.path().join("audit"), dir.path().join("keys"));
        let log = log(dir.path());
        let access = |reason: &str| Access {
            exchange: ExchangeId::from_bytes([7; 16]),
            time: Time::now(),
            uid: 1000,
            user: Some("alice".into()),
            auditor: "0123".into(),
            reason: reason.into(),
            outcome: Outcome::Opened,
            error: None,
        };
        access("before").record(&audit, &keys).unwrap();
        let mut accesses = Accesses::new(audit.clone(), log.key().clone(), dir.path().join("cursors"));
        accesses.note(&log.notes(), &log.probe()).await.unwrap();
        let mut other = Accesses::new(audit.clone(), log.key().clone(), dir.path().join("cursors"));
        access("one").record(&audit, &keys).unwrap();
        other.note(&log.notes(), &log.probe()).await.unwrap();
        accesses.note(&log.notes(), &log.probe()).await.unwrap();
        // The cursor is durable, so what it is behind must be.
        let condition = log.probe().condition().unwrap();
        assert_eq!(condition.durable, condition.frames);
        drop(accesses);
        let deed = Deed::Hold { name: "case 7".into(), records: vec!["caller=alice".into()] };
        let act = Act { time: Time::now(), uid: 0, user: None, reason: "court".into(), deed };
        act.record(&audit, &keys).unwrap();
        other.note(&log.notes(), &log.probe()).await.unwrap();
        other.note(&log.notes(), &log.probe()).await.unwrap();
        log.close().unwrap();
        let notes = Reader::open(&audit).unwrap().notes(|_| true).unwrap();
        let told: Vec<_> = notes.iter().map(|note| (note.event().unwrap(), note.reason().unwrap())).collect();
        let id = ExchangeId::from_bytes([7; 16]);
        let one = format!("alice unsealed {id}: one");
        let hold = "uid 0 placed hold case 7 on records with caller=alice: court";
        assert_eq!(told, [("access", one.as_str()), ("act", hold)]);
        assert!(notes.iter().all(|note| !note.is_about_log()));
    }
}
