//! What one key alone cannot tell: keys that contradict each other, and files that must be there.

use std::{fs::File, net::SocketAddr, path::Path};

use rustix::fs::{Access, access};

use super::{
    Code, Config, Loaded, Origin, Problem, Severity,
    exposed::{exposed_files, exposed_journal},
    key::check_mode,
    read::Places,
    session::{Session, Source},
};
use crate::{model::ByteSize, tls::Mode};

/// Checks a configuration as a whole.
pub(super) fn across(session: &mut Session<'_>, config: &Config, places: &Places) {
    listeners(session, config, places);
    journal(session, config, places);
    if config.sources.is_empty() && !session.failed() {
        let fix = "Add a [[source]] with name and segment_write_key.";
        session.warn(
            &Source::Outside(Origin::Default),
            Code::NoSource,
            "there is no source: everything is relayed to Segment and nothing is kept",
            fix,
        );
    }
}

fn listeners(session: &mut Session<'_>, config: &Config, places: &Places) {
    let (listen, listen_tls) = (config.ingress.listen, config.ingress.listen_tls);
    if listen.is_none() && listen_tls.is_none() {
        session.error(
            places.listen.or(&places.listen_tls),
            Code::NoListener,
            "both `listen` and `listen_tls` are off: no app could reach segue",
            "write listen = \"127.0.0.1:8088\"",
        );
    }
    let all = [
        ("listen", listen, &places.listen),
        ("listen_tls", listen_tls, &places.listen_tls),
        ("metrics", config.telemetry.metrics, &places.metrics),
    ];
    for (index, (name, address, at)) in all.iter().enumerate() {
        let earlier = all[..index].iter().find(|(_, other, _)| address.zip(*other).is_some_and(|(a, b)| collide(a, b)));
        if let (Some((other, _, other_at)), Some(address)) = (earlier, address) {
            let what = format!("`{other}` and `{name}` ask for the same port, {}", address.port());
            session.error(at.or(other_at), Code::SameAddress, what, "give each a port of its own");
        }
    }
    if let Some(address) = listen.filter(|address| !address.ip().is_loopback()) {
        let what = format!("`listen` takes plain HTTP from other machines ({address})");
        session.warn(&places.listen, Code::PlainExposed, what, "use 127.0.0.1, or listen_tls");
    }
}

/// Whether two listeners could not stand side by side. Port 0 is a port of its own each time.
fn collide(a: SocketAddr, b: SocketAddr) -> bool {
    a.port() != 0 && a.port() == b.port() && (a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified())
}

fn journal(session: &mut Session<'_>, config: &Config, places: &Places) {
    let (size, volume, body) = (config.journal.size_max, config.journal.volume_size, config.ingress.limits.body_bytes_max);
    let least = ByteSize(volume.0.saturating_mul(VOLUMES_MIN));
    if size < least {
        let what = format!("a journal of {size} does not hold {VOLUMES_MIN} volumes of {volume}");
        session.error(
            &places.journal_size,
            Code::JournalSize,
            what,
            format!("write size_max = \"{least}\" or more, or a smaller volume_size"),
        );
    }
    if volume <= body {
        let what = format!("a volume of {volume} does not hold a body of {body} (limits.body_bytes_max)");
        session.error(&places.journal_size, Code::JournalSize, what, "raise journal.volume_size, or lower limits.body_bytes_max");
    }
}

/// Checks that the files of the certificates are there; what they hold is the TLS module's to judge.
pub(super) fn certificates(session: &mut Session<'_>, listen_at: &Source, mode: &Mode) {
    match mode {
        Mode::LocalCa { dir } => {
            if !dir.join(LOCAL_CA_FILE).exists() {
                let what = format!("`listen_tls` is on, but there are no certificates in {}", shown(dir));
                session.error(listen_at, Code::NoCertificates, what, "make them: segue certs init");
            }
        }
        Mode::Files { cert, key } => {
            for path in [cert, key] {
                if let Err(error) = File::open(path) {
                    session.error(
                        listen_at,
                        Code::UnreadableFile,
                        format!("{} cannot be read: {error}", path.display()),
                        "name a PEM file that segue's user may read",
                    );
                }
            }
            check_mode(session, listen_at, key);
        }
    }
}

/// What is wrong with this machine for a configuration that is right in itself: whether the journal's directory can be written,
/// or made, and what of it and of the configuration other users can get at. It changes nothing.
#[must_use]
pub fn machine(loaded: &Loaded) -> Vec<Problem> {
    let dir = &loaded.config.journal.dir;
    let there = dir.ancestors().find(|ancestor| ancestor.exists()).unwrap_or(Path::new("."));
    let writable = there.is_dir() && access(there, Access::WRITE_OK | Access::EXEC_OK).is_ok();
    if writable {
        return [exposed_files(loaded), exposed_journal(loaded)].concat();
    }
    let what = if there == dir {
        format!("the journal's directory {} cannot be written", dir.display())
    } else {
        format!("the journal's directory {} cannot be made", dir.display())
    };
    let fix = format!(
        "Make it, give it to segue's user (chown), or set [journal] dir; segue check --offline does not look at {}.",
        there.display()
    );
    vec![Problem { code: Code::JournalDir, severity: Severity::Error, place: None, what, fix }]
}

fn shown(dir: &Path) -> String {
    if dir.as_os_str().is_empty() { ".".to_owned() } else { dir.display().to_string() }
}

/// One being written, one prepared, one draining, one in reserve.
const VOLUMES_MIN: u64 = 4;
/// What `segue certs init` leaves in its directory.
const LOCAL_CA_FILE: &str = "intermediate.pem";
