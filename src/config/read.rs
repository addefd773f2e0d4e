//! The shape of the file: which table and key sets which module's setting.

use std::path::PathBuf;

use tracing_subscriber::EnvFilter;

use super::{
    Access, Code, Config, ControlPlace, DataDirectory, access, check,
    choice::{Allowed, TlsMode},
    destinations, key, schema,
    section::Section,
    session::{Session, Source},
    sources,
    value::{Count, Fault, File, Listen, Networks, Number, Patterns, Size, Text, Texts, Wait},
};
use crate::{
    evidence,
    ingress::{self, Hooks, Limits},
    journal,
    model::{ByteSize, Percent, Span},
    routing::Gates,
    telemetry, tls,
};

/// Places that checks across keys point at.
pub(super) struct Places {
    pub listen: Source,
    pub listen_tls: Source,
    pub metrics: Source,
    pub journal_size: Source,
}

/// Reads the whole file, then checks what one key alone cannot tell. The result counts only when no error was noted.
pub(super) fn config(session: &mut Session<'_>, mut root: Section) -> Config {
    let default = Config::default();
    let (listen, listen_at) = root.placed(session, "listen", Listen(default.ingress.listen));
    let (listen_tls, listen_tls_at) = root.placed(session, "listen_tls", Listen(default.ingress.listen_tls));
    let (metrics, metrics_at) = root.placed(session, "metrics", Listen(default.telemetry.metrics));
    let trusted_proxies = root.value(session, "trusted_proxies", Networks(default.ingress.trusted_proxies)).0;
    let public_host = public_host(session, &mut root);
    let tls = tls(session, &mut root).filter(|_| listen_tls.0.is_some());
    if let Some(tls) = &tls {
        check::certificates(session, &listen_tls_at, &tls.mode);
    }
    let (journal, on_full, data_directory, journal_size) = journal(session, &mut root);
    let drain_timeout = root.value(session, "drain_timeout", Span(data_directory.drain_timeout())).0;
    let destinations = destinations::read(session, &mut root);
    let evidence = evidence(session, &mut root);
    let gates = gates(session, &mut root);
    let telemetry = telemetry(session, &mut root, metrics);
    let limits = limits(session, &mut root);
    let (hooks, hooks_tls_at) = hooks(session, &mut root);
    let (admin, kill_file, access) = admin(session, &mut root);
    let sources = sources::read(session, &mut root, destinations.rudderstack.is_some());
    root.finish(session);
    let config = Config {
        ingress: ingress::Settings { listen: listen.0, listen_tls: listen_tls.0, trusted_proxies, public_host, on_full, hooks, limits },
        tls,
        journal,
        segment: destinations.segment,
        rudderstack: destinations.rudderstack,
        delivery: destinations.delivery,
        evidence,
        gates,
        telemetry,
        admin,
        kill_file,
        access,
        sources,
        data_directory,
        drain_timeout,
    };
    if config.ingress.hooks.listen_tls.is_some() && config.tls.is_none() {
        let fix = "set listen_tls too, whose certificates it shows, or take plain HTTP behind a proxy with hooks.listen";
        session.error(&hooks_tls_at, Code::Missing, "`hooks.listen_tls` has no certificates", fix);
    }
    check::across(session, &config, &Places { listen: listen_at, listen_tls: listen_tls_at, metrics: metrics_at, journal_size });
    config
}

fn public_host(session: &mut Session<'_>, root: &mut Section) -> Option<String> {
    let (Text(host), at) = root.placed(session, "public_host", Text(None));
    let host = host?;
    if host.contains("://") || host.parse::<http::uri::Authority>().is_err() {
        let fault =
            Fault::value(format!("`{host}` is no host"), "write a host and maybe a port, like \"events.acme.com\", without a scheme");
        root.refuse(session, "public_host", &at, fault);
    }
    Some(host)
}

/// `[tls]`: always read, so that a mistake in it is told even while the listener is off. None when it contradicts itself.
pub(super) fn tls(session: &mut Session<'_>, root: &mut Section) -> Option<tls::Settings> {
    let default = tls::Settings::default();
    let tls::Mode::LocalCa { dir: default_dir } = default.mode else { return None };
    let mut section = root.table(session, "tls");
    let (mode, mode_at) = section.placed(session, "mode", TlsMode::LocalCa);
    let dir = section.value(session, "dir", File(Some(default_dir.clone()))).0.unwrap_or(default_dir);
    let cert = section.value(session, "cert", File(None)).0.map(|path| session.resolve(&path));
    let key = section.value(session, "key", File(None)).0.map(|path| session.resolve(&path));
    let names = section.value(session, "names", Texts(default.names)).0;
    section.finish(session);
    let mode = match (mode, cert, key) {
        (TlsMode::LocalCa, None, None) => tls::Mode::LocalCa { dir: session.resolve(&dir) },
        (TlsMode::LocalCa, ..) => {
            session.error(
                &mode_at,
                Code::WrongValue,
                "`tls.cert` and `tls.key` are read with mode = \"files\" only",
                "set mode = \"files\", or remove them",
            );
            return None;
        }
        (TlsMode::Files, Some(cert), Some(key)) => tls::Mode::Files { cert, key },
        (TlsMode::Files, ..) => {
            session.error(
                &mode_at,
                Code::Missing,
                "mode = \"files\" needs `cert` and `key`",
                "add the paths of a PEM chain and its PEM key",
            );
            return None;
        }
    };
    Some(tls::Settings { mode, names })
}

fn journal(session: &mut Session<'_>, root: &mut Section) -> (journal::Settings, ingress::OnFull, DataDirectory, Source) {
    let default = journal::Settings::default();
    let mut section = root.table(session, "journal");
    let dir = section.value(session, "dir", File(Some(default.dir.clone()))).0.unwrap_or(default.dir);
    let (Size(size_max), size_at) = section.placed(session, "size_max", Size(default.size_max));
    let (Size(volume_size), volume_at) = section.placed(session, "volume_size", Size(default.volume_size));
    let settings = journal::Settings {
        dir: session.resolve(&dir),
        size_max,
        volume_size,
        keep_delivered: section.value(session, "keep_delivered", Span(default.keep_delivered)).0,
        spill_max_per_source: section.value(session, "spill_max_per_source", default.spill_max_per_source),
        spill_max: section.value(session, "spill_max", default.spill_max),
        memory_max: section.value(session, "memory_max", default.memory_max),
    };
    let on_full = section.value(session, "on_full", ingress::Settings::default().on_full);
    let data_directory = section.value(session, "ephemeral", DataDirectory::default());
    section.finish(session);
    (settings, on_full, data_directory, size_at.or(&volume_at).clone())
}

/// `[hooks]`: what vendors post. With it, where its TLS listener is set.
fn hooks(session: &mut Session<'_>, root: &mut Section) -> (Hooks, Source) {
    let default = Hooks::default();
    let mut section = root.table(session, "hooks");
    let listen = section.value(session, "listen", Listen(default.listen)).0;
    let (listen_tls, at) = section.placed(session, "listen_tls", Listen(default.listen_tls));
    let mut secrets = |name: &'static str| {
        let key = section.key(name);
        session.ask(key.clone(), schema::write_key(), None);
        let read = section.take(name).map(|entry| key::read(session, &key, entry.item)).unwrap_or_default();
        read.into_iter().map(|key| key.secret).collect::<Vec<_>>()
    };
    let (segment_secrets, rudderstack_secrets) = (secrets("segment_secret"), secrets("rudderstack_secret"));
    let allow_arrays = section.value(session, "allow_arrays", Allowed(default.allow_arrays)).0;
    let place = section.place();
    let is_on = listen.is_some() || listen_tls.0.is_some();
    if is_on && segment_secrets.is_empty() && rudderstack_secrets.is_empty() {
        session.error(
            &place,
            Code::Missing,
            "[hooks] listens and has no secret, so nothing would be taken",
            "add segment_secret = { env = \"...\" }, the shared secret of Segment's webhook, or rudderstack_secret",
        );
    }
    section.finish(session);
    let hooks = Hooks { listen, listen_tls: listen_tls.0, segment_secrets, rudderstack_secrets, allow_arrays };
    (hooks, at)
}

/// `[diff]`: both sides compared.
fn evidence(session: &mut Session<'_>, root: &mut Section) -> evidence::Settings {
    let default = evidence::Settings::default();
    let mut section = root.table(session, "diff");
    let settings = evidence::Settings {
        wait: section.value(session, "wait", Wait(default.wait)).0,
        late: section.value(session, "late", Wait(default.late)).0,
        events_max: section.value(session, "events_max", Count(default.events_max)).0,
        bodies_max: section.value(session, "waiting_max", Size(default.bodies_max)).0,
        ignored: section.value(session, "ignore", Patterns(default.ignored.clone())).0,
        ..default
    };
    section.finish(session);
    settings
}

/// `[gates]`: what has to be well before a ramp goes on. One is left out when a ramp is started, not here.
fn gates(session: &mut Session<'_>, root: &mut Section) -> Gates {
    let default = Gates::default();
    let mut section = root.table(session, "gates");
    let mut share = |name, usual: Option<Percent>| Some(section.value(session, name, usual.unwrap_or(Percent::FULL)));
    let (parity_min, errors_max) = (share("parity_min", default.parity_min), share("errors_max", default.errors_max));
    let mut wait = |name, usual: Span| Span(section.value(session, name, Wait(usual.0)).0);
    let (window, lag_max) = (wait("window", default.window), wait("lag_max", default.lag_max.unwrap_or(default.window)));
    let mut number = |name, usual: u64| {
        let usual = usize::try_from(usual).unwrap_or(usize::MAX);
        section.value(session, name, Number(usual)).0 as u64
    };
    let (pairs_min, quarantine_max) =
        (number("pairs_min", default.pairs_min), number("quarantine_max", default.quarantine_max.unwrap_or_default()));
    section.finish(session);
    Gates { parity_min, pairs_min, lag_max: Some(lag_max), errors_max, quarantine_max: Some(quarantine_max), window }
}

fn telemetry(session: &mut Session<'_>, root: &mut Section, metrics: Listen) -> telemetry::Settings {
    let default = telemetry::Settings::default();
    let mut section = root.table(session, "log");
    let format = section.value(session, "format", default.format);
    let (level, at) = section.placed(session, "level", Text(Some(default.level.clone())));
    let level = level.0.unwrap_or(default.level);
    if let Err(error) = EnvFilter::try_new(&level) {
        let fault = Fault::value(
            format!("`{level}` is no log level: {error}"),
            "write error, warn, info, debug or trace, or a filter as RUST_LOG takes it",
        );
        section.refuse(session, "level", &at, fault);
    }
    section.finish(session);
    telemetry::Settings { metrics: metrics.0, format, level }
}

/// The socket, the kill file, and who may use the socket.
fn admin(session: &mut Session<'_>, root: &mut Section) -> (ControlPlace, ControlPlace, Access) {
    let mut section = root.table(session, "admin");
    let mut place = |name| {
        let File(path) = section.value(session, name, File(None));
        match path {
            None => ControlPlace::InDataDirectory,
            Some(path) if path.as_os_str() == "off" => ControlPlace::Off,
            Some(path) => ControlPlace::At(session.resolve(&path)),
        }
    };
    let (socket, kill_file) = (place("socket"), place("kill_file"));
    let access = access::read(session, &mut section, &socket);
    section.finish(session);
    (socket, kill_file, access)
}

fn limits(session: &mut Session<'_>, root: &mut Section) -> Limits {
    let default = Limits::default();
    let mut section = root.table(session, "limits");
    let limits = Limits {
        connections_max: section.value(session, "connections_max", Count(default.connections_max)).0,
        connections_per_ip_max: section.value(session, "connections_per_ip_max", Count(default.connections_per_ip_max)).0,
        handshake_timeout: section.value(session, "handshake_timeout", Wait(default.handshake_timeout)).0,
        header_timeout: section.value(session, "header_timeout", Wait(default.header_timeout)).0,
        body_timeout: section.value(session, "body_timeout", Wait(default.body_timeout)).0,
        body_rate_min: section.value::<ByteSize>(session, "body_rate_min", default.body_rate_min),
        idle_timeout: section.value(session, "idle_timeout", Wait(default.idle_timeout)).0,
        header_bytes_max: section.value(session, "header_bytes_max", Size(default.header_bytes_max)).0,
        headers_max: section.value(session, "headers_max", Count(default.headers_max)).0,
        body_bytes_max: section.value(session, "body_bytes_max", Size(default.body_bytes_max)).0,
        inflated_bytes_max: section.value(session, "inflated_bytes_max", Size(default.inflated_bytes_max)).0,
        inflate_ratio_max: inflate_ratio(section.value(session, "inflate_ratio_max", Count(default.inflate_ratio_max as usize)).0),
        pending_bytes_max: section.value(session, "pending_bytes_max", Size(default.pending_bytes_max)).0,
        relay_timeout: section.value(session, "relay_timeout", Wait(default.relay_timeout)).0,
    };
    section.finish(session);
    limits
}

/// A ratio beyond the type's range means no limit but the others.
fn inflate_ratio(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// A path as the file gives it, from the file's own directory.
pub(super) fn resolved(session: &Session<'_>, file: File) -> Option<PathBuf> {
    file.0.map(|path| session.resolve(&path))
}
