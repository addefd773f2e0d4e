//! `segue certs status`: what serves, until when, and how far a rotation is.

use serde_json::{Value, json};

use super::{
    Exit,
    certs::Place,
    certs_export::root,
    certs_flags::CertsStatusFlags,
    command::Manner,
    talk::{Form, Talk},
};
use crate::{
    clock::Clock,
    model::WallTime,
    tls::{Mode, OwnCertificate, Phase, Role, Standing},
};

/// Prints it; exit 3 when somebody has to act.
pub fn status(manner: &Manner, flags: CertsStatusFlags, talk: &Talk) -> anyhow::Result<Exit> {
    let place = match Place::find(manner, flags.dir, talk) {
        Ok(place) => place,
        Err(exit) => return Ok(exit),
    };
    let now = Clock::system().now();
    let (expires_at, object, text) = match &place.mode {
        Mode::LocalCa { dir } => {
            let standing = Standing::read(dir, now)?;
            (standing.expires_at(), authority_object(&standing), authority_text(&standing))
        }
        Mode::Files { cert, .. } => {
            let own = OwnCertificate::read(cert)?;
            (own.expires_at, own_object(&own), own_text(&own))
        }
    };
    let care = Care::of(expires_at, now);
    let days_left = expires_at.millis_since(now).div_euclid(DAY_MS);
    match talk.form() {
        Form::Json => {
            let mut object = object;
            object["schema"] = "segue.certs-status/v1".into();
            object["state"] = care.word().into();
            object["expires_at"] = expires_at.to_string().into();
            object["days_left"] = days_left.into();
            talk.json(&object)?;
        }
        Form::Text => {
            talk.result(&format!("{text}\n  ends         {expires_at}, {}\n{}", left(days_left), care.advice(&place.mode)))?;
        }
    }
    Ok(if care == Care::None { Exit::Done } else { Exit::No })
}

/// Whether somebody has to act.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Care {
    None,
    Soon,
    Over,
}

impl Care {
    fn of(expires_at: WallTime, now: WallTime) -> Self {
        match expires_at.millis_since(now) {
            left if left <= 0 => Self::Over,
            left if left < WORN_DAYS * DAY_MS => Self::Soon,
            _ => Self::None,
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::None => "good",
            Self::Soon => "worn",
            Self::Over => "over",
        }
    }

    const fn advice(self, mode: &Mode) -> &'static str {
        match (self, mode) {
            (Self::None, _) => "Nothing has to be done.",
            (Self::Soon, Mode::LocalCa { .. }) => "It ends soon. Exchange it without a gap: segue certs rotate",
            (Self::Over, Mode::LocalCa { .. }) => "It is over, and apps refuse it. Make a new one: segue certs init --force",
            (Self::Soon, Mode::Files { .. }) => "It ends soon. Put a new one in its place; it is taken up by itself.",
            (Self::Over, Mode::Files { .. }) => "It is over, and apps refuse it. Put a new one in its place; it is taken up by itself.",
        }
    }
}

fn left(days: i64) -> String {
    match days {
        days if days < 0 => format!("{} days ago", -days),
        1 => "1 day left".to_owned(),
        days => format!("{days} days left"),
    }
}

fn authority_object(standing: &Standing) -> Value {
    json!({
        "mode": "local-ca",
        "dir": standing.dir.display().to_string(),
        "subject": standing.serving().subject,
        "fingerprint": standing.serving().fingerprint,
        "names": standing.names,
        "root_expires_at": standing.serving().expires_at.to_string(),
        "intermediate_expires_at": standing.intermediate_expires_at.to_string(),
        "phase": standing.phase.word(),
        "roots": standing.roots.iter().map(root).collect::<Vec<_>>(),
    })
}

fn authority_text(standing: &Standing) -> String {
    let serving = standing.serving();
    let mut lines = vec![
        format!("The local CA in {}", standing.dir.display()),
        format!("  subject      {}", serving.subject),
        format!("  SHA-256      {}", serving.fingerprint),
        format!("  names        {}, localhost", standing.names.join(", ")),
        format!("  root         until {}", serving.expires_at),
        format!("  intermediate until {}", standing.intermediate_expires_at),
        format!("  rotation     {}", rotation(standing)),
    ];
    for root in &standing.roots[1..] {
        lines.push(format!("  {:12} {}, SHA-256 {}, until {}", root.role.word(), root.subject, root.fingerprint, root.expires_at));
    }
    lines.join("\n")
}

fn rotation(standing: &Standing) -> String {
    match standing.phase {
        Phase::Settled => "none".to_owned(),
        Phase::Prepared => {
            let made = standing.root(Role::Next).map(|root| format!(" since {}", root.made_at)).unwrap_or_default();
            format!("the next authority is prepared{made}; when every app trusts both: segue certs rotate --switch")
        }
        Phase::Halfway => "a switch was cut off halfway; let it end: segue certs rotate --switch".to_owned(),
        Phase::Overlap { since } => {
            format!("switched at {since}; when every app trusts the root that serves: segue certs rotate --finish")
        }
    }
}

fn own_object(own: &OwnCertificate) -> Value {
    json!({
        "mode": "files",
        "cert": own.path.display().to_string(),
        "subject": own.subject,
        "fingerprint": own.fingerprint,
        "names": own.names,
    })
}

fn own_text(own: &OwnCertificate) -> String {
    format!(
        "Your own certificate in {}\n  subject      {}\n  SHA-256      {}\n  names        {}",
        own.path.display(),
        own.subject,
        own.fingerprint,
        own.names.join(", ")
    )
}

const DAY_MS: i64 = 86_400_000;
/// A certificate with fewer days is worn.
const WORN_DAYS: i64 = 30;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thirty_days_before_its_end_somebody_has_to_act() {
        let now = WallTime::from_millis(1_795_470_595_000);
        for (days, want) in [(31, Care::None), (30, Care::None), (29, Care::Soon), (1, Care::Soon), (0, Care::Over), (-1, Care::Over)] {
            assert_eq!(Care::of(now.plus_millis(days * DAY_MS), now), want, "{days}");
        }
    }
}
