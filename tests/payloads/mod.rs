//! Requests that two readers may read differently, written down from what is publicly known of request smuggling, and what
//! RFC 9112 says of each.

#![allow(dead_code, reason = "every story uses a part of it")]

/// A write key that the stage knows.
pub const KEY: &str = "wk_test_segment_aaaaaaaaaaaaaaaa";
/// The messageId of the payload's own event, to be replaced by one of the same length.
pub const OWN: &str = "PPPPPPPPPPP";
/// The messageId of what is smuggled.
pub const SMUGGLED: &str = "SSSSSSSSSSS";

/// What has to become of a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Its event arrives, and what follows on the connection is the next request.
    Taken,
    /// Its event arrives, and nothing that follows is looked at.
    TakenLast,
    /// It is no event: Segment is asked live, at this path; what follows is the next request.
    Passed(&'static str),
    /// As `Passed`, but nothing that follows is looked at.
    PassedLast(&'static str),
    /// It is answered here and is no event; what follows is the next request.
    Answered,
    /// Nothing of it and nothing that follows arrives anywhere.
    Refused,
}

/// One payload.
pub struct Payload {
    pub name: &'static str,
    /// What the RFC says.
    pub why: &'static str,
    pub fate: Fate,
    pub bytes: Vec<u8>,
}

pub fn event(id: &str) -> String {
    format!(r#"{{"type":"track","event":"E","userId":"u","messageId":"{id}","writeKey":"{KEY}"}}"#)
}

/// A whole legal request.
pub fn post(id: &str, more: &str) -> String {
    let body = event(id);
    format!("POST /v1/track HTTP/1.1\r\nHost: a\r\n{more}Content-Length: {}\r\n\r\n{body}", body.len())
}

/// All of them.
pub fn payloads() -> Vec<Payload> {
    [lengths(), codings(), chunks(), lines(), targets(), hops()].into_iter().flatten().collect()
}

use Fate::{Answered, Passed, PassedLast, Refused, Taken, TakenLast};

fn payload(name: &'static str, why: &'static str, fate: Fate, bytes: impl Into<Vec<u8>>) -> Payload {
    Payload { name, why, fate, bytes: bytes.into() }
}

/// `POST /v1/track` with these header lines and this body, byte for byte.
fn head(headers: &str, body: &str) -> String {
    format!("POST /v1/track HTTP/1.1\r\nHost: a\r\n{headers}\r\n{body}")
}

/// The same with bytes that are no UTF-8: `\x01` to `\x04` of `headers` stand for 0xa0, 0xff, 0x85 and 0x00.
fn raw(text: &str) -> Vec<u8> {
    let table = [(1, 0xa0), (2, 0xff), (3, 0x85), (4, 0x00)];
    text.bytes().map(|byte| table.iter().find(|(mark, _)| *mark == byte).map_or(byte, |(_, real)| *real)).collect()
}

fn own() -> String {
    event(OWN)
}

fn one_chunk(body: &str) -> String {
    format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len())
}

fn lengths() -> Vec<Payload> {
    const BAD: &str = "RFC 9112 6.3(5): an invalid Content-Length is an unrecoverable error";
    let n = own().len();
    let with = |line: String| head(&line, &own());
    let cl = |value: String| with(format!("Content-Length: {value}\r\n"));
    vec![
        payload("one length", "a legal request", Taken, cl(n.to_string())),
        payload(
            "the same length twice",
            "RFC 9110 8.6: repeats of one value may be taken as one",
            Taken,
            with(format!("Content-Length: {n}\r\nContent-Length: {n}\r\n")),
        ),
        payload("two lengths, the smaller first", BAD, Refused, with(format!("Content-Length: 0\r\nContent-Length: {n}\r\n"))),
        payload("two lengths, the greater first", BAD, Refused, with(format!("Content-Length: {n}\r\nContent-Length: 0\r\n"))),
        payload("a list of one length", "RFC 9110 8.6: may be refused", Refused, cl(format!("{n}, {n}"))),
        payload("a list of two lengths", BAD, Refused, cl(format!("{n}, 0"))),
        payload("a length with a plus", BAD, Refused, cl(format!("+{n}"))),
        payload("a length in hex", BAD, Refused, cl(format!("0x{n:x}"))),
        payload("a length with an underscore", BAD, Refused, cl("1_0".into())),
        payload("minus nothing", BAD, Refused, cl("-0".into())),
        payload("a negative length", BAD, Refused, cl("-1".into())),
        payload("an empty length", BAD, Refused, cl(String::new())),
        payload("a length with an exponent", BAD, Refused, cl("1e2".into())),
        payload("a length with a fraction", BAD, Refused, cl(format!("{n}.0"))),
        payload("a length with a parameter", BAD, Refused, cl(format!("{n};x"))),
        payload("a quoted length", BAD, Refused, cl(format!("\"{n}\""))),
        payload("a length and a word", BAD, Refused, cl(format!("{n} 0"))),
        payload("leading zeros", "1*DIGIT: zeros in front are digits", Taken, cl(format!("000{n}"))),
        payload("blanks around a length", "OWS around a value is none of it", Taken, cl(format!(" \t {n} \t"))),
        payload("two to the 64th", BAD, Refused, cl("18446744073709551616".into())),
        payload("two to the 64th less one", "no body is that long", Refused, cl("18446744073709551615".into())),
        payload("two to the 64th and the length", BAD, Refused, cl(format!("{}", (1_u128 << 64) + n as u128))),
        payload("a vertical tab before a length", BAD, Refused, cl(format!("\x0b{n}"))),
        payload("a no-break space before a length", BAD, Refused, raw(&cl(format!("\x01{n}")))),
        payload("a folded length", "RFC 9112 5.2: obs-fold is refused", Refused, cl(format!("\r\n {n}"))),
        payload(
            "a length of underscores",
            "Content_Length is another field",
            Taken,
            with(format!("Content_Length: 0\r\nContent-Length: {n}\r\n")),
        ),
        payload(
            "a length of nothing and a body",
            "the body is what comes next, and that is no request",
            PassedLast("/v1/track"),
            head("Content-Length: 0\r\n", &own()),
        ),
    ]
}

fn codings() -> Vec<Payload> {
    const BAD: &str = "RFC 9112 6.1: a transfer coding that is not understood";
    const BOTH: &str = "RFC 9112 6.1: chunked alone counts, and the connection closes";
    let chunked = one_chunk(&own());
    let te = |line: &str| head(line, &one_chunk(&own()));
    let both = |line: &str| head(&format!("Content-Length: {}\r\n{line}", chunked.len()), &chunked);
    let smuggling = format!("{chunked}{}", post(SMUGGLED, ""));
    vec![
        payload("chunked", "a legal request", Taken, te("Transfer-Encoding: chunked\r\n")),
        payload("chunked in capitals", "names of codings know no case", Taken, te("TRANSFER-ENCODING: CHUNKED\r\n")),
        payload("chunked with blanks", "OWS around a value is none of it", Taken, te("Transfer-Encoding:\t chunked \t\r\n")),
        payload("CL.TE", BOTH, TakenLast, both("Transfer-Encoding: chunked\r\n")),
        payload(
            "CL.TE with a request behind the last chunk",
            BOTH,
            TakenLast,
            head(&format!("Content-Length: {}\r\nTransfer-Encoding: chunked\r\n", smuggling.len()), &smuggling),
        ),
        payload("TE.CL", BOTH, TakenLast, head("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", &chunked)),
        payload("TE.CL with a length of nothing", BOTH, TakenLast, head("Content-Length: 0\r\nTransfer-Encoding: chunked\r\n", &chunked)),
        payload("chunked, then identity", BAD, Refused, te("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n")),
        payload("identity, then chunked", BAD, Refused, te("Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n")),
        payload(
            "chunked twice",
            "RFC 9112 6.1: chunked is applied once",
            Refused,
            te("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
        ),
        payload("chunked twice in a list", "RFC 9112 6.1: chunked is applied once", Refused, te("Transfer-Encoding: chunked, chunked\r\n")),
        payload("chunked, then nothing", BAD, Refused, te("Transfer-Encoding: chunked,\r\n")),
        payload("nothing, then chunked", BAD, Refused, te("Transfer-Encoding: , chunked\r\n")),
        payload("chunked is not the last", BAD, Refused, te("Transfer-Encoding: chunked, gzip\r\n")),
        payload("gzip, then chunked", BAD, Refused, te("Transfer-Encoding: gzip, chunked\r\n")),
        payload("xchunked and a length", BAD, Refused, both("Transfer-Encoding: xchunked\r\n")),
        payload("chunk and a length", BAD, Refused, both("Transfer-Encoding: chunk\r\n")),
        payload("no coding and a length", BAD, Refused, both("Transfer-Encoding:\r\n")),
        payload("quoted chunked", BAD, Refused, both("Transfer-Encoding: \"chunked\"\r\n")),
        payload("chunked with a parameter", BAD, Refused, both("Transfer-Encoding: chunked;q=1\r\n")),
        payload(
            "a vertical tab before chunked",
            "RFC 9110 5.5: a control character in a value",
            Refused,
            both("Transfer-Encoding: \x0bchunked\r\n"),
        ),
        payload(
            "a vertical tab behind chunked",
            "RFC 9110 5.5: a control character in a value",
            Refused,
            both("Transfer-Encoding: chunked\x0b\r\n"),
        ),
        payload("a no-break space before chunked", BAD, Refused, raw(&both("Transfer-Encoding: \x01chunked\r\n"))),
        payload("NUL behind chunked", "RFC 9110 5.5: NUL in a value", Refused, raw(&both("Transfer-Encoding: chunked\x04\r\n"))),
        payload("folded chunked", "RFC 9112 5.2: obs-fold is refused", Refused, both("Transfer-Encoding:\r\n chunked\r\n")),
        payload(
            "a blank before the colon",
            "RFC 9112 5.1: whitespace before the colon is refused",
            Refused,
            both("Transfer-Encoding : chunked\r\n"),
        ),
        payload(
            "a tab before the colon",
            "RFC 9112 5.1: whitespace before the colon is refused",
            Refused,
            both("Transfer-Encoding\t: chunked\r\n"),
        ),
        payload(
            "a blank before the name",
            "RFC 9112 2.2: whitespace before the first field is refused",
            Refused,
            both(" Transfer-Encoding: chunked\r\n"),
        ),
        payload(
            "a coding of underscores",
            "Transfer_Encoding is another field",
            Taken,
            head(&format!("Transfer_Encoding: chunked\r\nContent-Length: {}\r\n", own().len()), &own()),
        ),
        payload(
            "chunked behind a bare LF",
            "RFC 9112 2.2: LF may end a line, so both are there",
            TakenLast,
            both("X: y\nTransfer-Encoding: chunked\r\n"),
        ),
        payload("chunked behind a bare CR", "RFC 9112 2.2: a bare CR is refused", Refused, both("X: y\rTransfer-Encoding: chunked\r\n")),
        payload(
            "chunked in HTTP/1.0",
            "RFC 9112 6.1: faulty framing",
            Refused,
            te("Transfer-Encoding: chunked\r\n").replace("HTTP/1.1", "HTTP/1.0"),
        ),
    ]
}

fn chunks() -> Vec<Payload> {
    const BAD: &str = "RFC 9112 7.1: no chunk";
    let body = own();
    let n = body.len();
    let te = |chunks: String| head("Transfer-Encoding: chunked\r\n", &chunks);
    let sized = |size: String| te(format!("{size}\r\n{body}\r\n0\r\n\r\n"));
    vec![
        payload("a chunk extension", "RFC 9112 7.1.1: ignored", Taken, sized(format!("{n:x};a=b"))),
        payload("a quoted chunk extension", "RFC 9112 7.1.1: ignored", Taken, sized(format!("{n:x};a=\"b;c\""))),
        payload("a blank behind the size", "RFC 9112 7.1.1: BWS", Taken, sized(format!("{n:x} "))),
        payload("zeros before the size", "1*HEXDIG", Taken, sized(format!("0000{n:X}"))),
        payload("a bare LF in an extension", BAD, Refused, te(format!("{n:x};a\n{body}\r\n0\r\n\r\n"))),
        payload("a bare LF behind the size", BAD, Refused, te(format!("{n:x}\n{body}\r\n0\r\n\r\n"))),
        payload("a bare CR behind the size", BAD, Refused, te(format!("{n:x}\r{body}\r\n0\r\n\r\n"))),
        payload("a bare LF behind the data", BAD, Refused, te(format!("{n:x}\r\n{body}\n0\r\n\r\n"))),
        payload("nothing behind the data", BAD, Refused, te(format!("{n:x}\r\n{body}0\r\n\r\n"))),
        payload("two bytes behind the data", BAD, Refused, te(format!("{n:x}\r\n{body}xx0\r\n\r\n"))),
        payload("bare LFs at the end", BAD, Refused, te(format!("{n:x}\r\n{body}\r\n0\n\n"))),
        payload("a size with a plus", BAD, Refused, sized(format!("+{n:x}"))),
        payload("a size with a minus", BAD, Refused, sized(format!("-{n:x}"))),
        payload("a size with 0x", BAD, Refused, sized(format!("0x{n:x}"))),
        payload("a size with an underscore", BAD, Refused, sized(format!("{n:x}_"))),
        payload("a blank before the size", BAD, Refused, sized(format!(" {n:x}"))),
        payload("two sizes", BAD, Refused, sized(format!("{n:x} {n:x}"))),
        payload("no size", BAD, Refused, sized(String::new())),
        payload("a size of no hex", BAD, Refused, sized("5g".into())),
        payload(
            "a size of 2^64 and the length",
            "RFC 9112 7.1: recipients prevent overflow",
            Refused,
            sized(format!("{:x}", (1_u128 << 64) + n as u128)),
        ),
        payload("a size that wraps in 32 bits", "no body is that long", Refused, sized(format!("{:x}", (1_u64 << 32) + n as u64))),
        payload("a size that is too small", BAD, Refused, sized(format!("{:x}", n - 1))),
        payload(
            "a trailer",
            "RFC 9112 7.1.2: ignored; we close as readers disagree on its end",
            TakenLast,
            te(format!("{n:x}\r\n{body}\r\n0\r\nX-Trailer: y\r\n\r\n")),
        ),
        payload(
            "a length in the trailer",
            "RFC 9110 6.5.1: never framing",
            TakenLast,
            te(format!("{n:x}\r\n{body}\r\n0\r\nContent-Length: 7\r\nTransfer-Encoding: chunked\r\n\r\n")),
        ),
        payload(
            "a bare LF in the trailer, a request behind it",
            "two readers may disagree on the trailer's end",
            TakenLast,
            te(format!("{n:x}\r\n{body}\r\n0\r\nX: y\n\n{}", post(SMUGGLED, ""))),
        ),
    ]
}

fn lines() -> Vec<Payload> {
    let length = format!("Content-Length: {}\r\n", own().len());
    let with = |line: &str| head(&format!("{line}{length}"), &own());
    let first = |line: &str| head(&length, &own()).replace("POST /v1/track HTTP/1.1", line);
    vec![
        payload("bare LFs throughout", "RFC 9112 2.2: LF may end a line", Taken, head(&length, "").replace("\r\n", "\n") + &own()),
        payload("an empty line before the request", "RFC 9112 2.2: ignored", Taken, format!("\r\n{}", head(&length, &own()))),
        payload("a bare CR in a value", "RFC 9112 2.2: refused", Refused, with("X: a\rb\r\n")),
        payload("a folded line", "RFC 9112 5.2: refused", Refused, with("X: a\r\n b\r\n")),
        payload("a NUL in a value", "RFC 9110 5.5: refused", Refused, raw(&with("X: a\x04b\r\n"))),
        payload("a NUL in a name", "no token", Refused, raw(&with("X\x04: a\r\n"))),
        payload("a bracket in a name", "no token", Refused, with("X(: a\r\n")),
        payload("a field without a name", "no token", Refused, with(": a\r\n")),
        payload("a line without a colon", "no field", Refused, with("X\r\n")),
        payload("a delete character in a value", "a control character", Refused, with("X: \x7f\r\n")),
        payload("two blanks in the request line", "RFC 9112 3: one SP", Refused, first("POST  /v1/track HTTP/1.1")),
        payload("a tab in the request line", "RFC 9112 3: one SP", Refused, first("POST\t/v1/track\tHTTP/1.1")),
        payload("a blank before the method", "no token", Refused, first(" POST /v1/track HTTP/1.1")),
        payload("a bracket in the method", "no token", Refused, first("PO(ST /v1/track HTTP/1.1")),
        payload(
            "a method in small letters",
            "methods have case: it is another one, which Segment knows or not",
            Passed("/v1/track"),
            first("post /v1/track HTTP/1.1"),
        ),
        payload("HTTP/0.9", "no version", Refused, "GET /v1/track\r\n"),
        payload("HTTP/1.2", "not spoken here", Refused, first("POST /v1/track HTTP/1.2")),
        payload("HTTP/2.0 in a line", "not spoken here", Refused, first("POST /v1/track HTTP/2.0")),
        payload("http/1.1 in small letters", "HTTP-name has case", Refused, first("POST /v1/track http/1.1")),
        payload("a version with more digits", "one DIGIT", Refused, first("POST /v1/track HTTP/1.10")),
        payload("the preface of HTTP/2", "not spoken on this connection", Refused, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        payload("HTTP/1.0", "its connection closes", TakenLast, first("POST /v1/track HTTP/1.0")),
    ]
}

fn targets() -> Vec<Payload> {
    const HOST: &str = "RFC 9112 3.2: exactly one valid Host";
    let length = format!("Content-Length: {}\r\n", own().len());
    let first = |line: &str| head(&length, &own()).replace("POST /v1/track HTTP/1.1", line);
    let hosted = |lines: &str| head(&length, &own()).replace("Host: a\r\n", lines);
    vec![
        payload("no Host", HOST, Refused, hosted("")),
        payload("two Hosts", HOST, Refused, hosted("Host: a\r\nHost: b\r\n")),
        payload("one Host twice", HOST, Refused, hosted("Host: a\r\nHost: a\r\n")),
        payload("a Host with a blank", HOST, Refused, hosted("Host: a b\r\n")),
        payload("a Host with a user", HOST, Refused, hosted("Host: u@a\r\n")),
        payload("a Host with a path", HOST, Refused, hosted("Host: a/b\r\n")),
        payload("an empty Host", "RFC 9112 3.2: legal", Taken, hosted("Host:\r\n")),
        payload("a Host with a port", "legal", Taken, hosted("Host: api.segment.io:443\r\n")),
        payload(
            "absolute form for another host",
            "RFC 9112 3.2.2: the target counts; we ask Segment and nobody else",
            Taken,
            first("POST http://other.example/v1/track HTTP/1.1"),
        ),
        payload(
            "absolute form for an inner address",
            "A13: Segment is asked, nobody else",
            Passed("/latest/meta-data/"),
            first("POST http://169.254.169.254/latest/meta-data/ HTTP/1.1"),
        ),
        payload("CONNECT", "A13: no forward proxy", Refused, first("CONNECT api.segment.io:443 HTTP/1.1")),
        payload("CONNECT to an inner address", "A13: no forward proxy", Refused, first("CONNECT 169.254.169.254:80 HTTP/1.1")),
        payload(
            "CONNECT in chunks",
            "A13: no forward proxy",
            Refused,
            head("Transfer-Encoding: chunked\r\n", &one_chunk(&own())).replace("POST /v1/track", "CONNECT a:25"),
        ),
        payload("CONNECT to a path", "A13: no forward proxy", Refused, first("CONNECT /v1/track HTTP/1.1")),
        payload("authority form", "RFC 9112 3.2.3: for CONNECT alone", Refused, first("POST api.segment.io:443 HTTP/1.1")),
        payload("asterisk form", "RFC 9112 3.2.4: for OPTIONS alone", Refused, first("POST * HTTP/1.1")),
        payload("OPTIONS *", "legal, a preflight", Answered, "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"),
        payload("a target without a slash", "RFC 9112 3.2: no form", Refused, first("POST v1/track HTTP/1.1")),
        payload("a blank in the target", "RFC 9112 3.2: not mended", Refused, first("POST /v1/tra ck HTTP/1.1")),
        payload("a NUL in the target", "no URI", Refused, raw(&first("POST /v1/track\x04 HTTP/1.1"))),
    ]
}

fn hops() -> Vec<Payload> {
    const STRIP: &str = "RFC 9110 7.6.1: what Connection names ends here";
    let length = format!("Content-Length: {}\r\n", own().len());
    let with = |lines: &str| head(&format!("{lines}{length}"), &own());
    let hidden = post(SMUGGLED, "");
    let within = |line: &str| format!("{line} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{hidden}", hidden.len());
    vec![
        payload(
            "Connection: Authorization",
            STRIP,
            Taken,
            with("Connection: Authorization\r\nAuthorization: Basic d2tfdGVzdF9ub21pbmF0ZWQ6\r\n"),
        ),
        payload("Connection: Content-Length", STRIP, Taken, with("Connection: Content-Length\r\n")),
        payload("Connection: Host", STRIP, Taken, with("Connection: Host\r\n")),
        payload(
            "Connection: Transfer-Encoding",
            STRIP,
            Taken,
            head("Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n", &one_chunk(&own())),
        ),
        payload("Connection: close and more", STRIP, TakenLast, with("Connection: X-Retry-Count, close\r\nX-Retry-Count: 7\r\n")),
        payload("two Connection lines", STRIP, TakenLast, with("Connection: close\r\nConnection: keep-alive\r\n")),
        payload(
            "headers of one hop",
            STRIP,
            Taken,
            with(
                "Keep-Alive: timeout=5\r\nProxy-Authorization: Basic eDp5\r\nProxy-Connection: keep-alive\r\nTE: trailers\r\nTrailer: X\r\n",
            ),
        ),
        payload(
            "headers that name another target",
            "never read, never passed on",
            Taken,
            with(
                "X-Original-URL: /admin\r\nX-Rewrite-URL: /admin\r\nX-HTTP-Method-Override: DELETE\r\nX-Forwarded-Host: evil.example\r\nForwarded: for=127.0.0.1\r\nCookie: a=b\r\n",
            ),
        ),
        payload(
            "Upgrade: h2c with a body",
            "RFC 9110 7.8: ignored",
            Taken,
            with("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"),
        ),
        payload(
            "Upgrade: websocket",
            "RFC 9110 7.8: ignored",
            Passed("/v1/socket"),
            "GET /v1/socket HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        ),
        payload("Expect: 100-continue", "RFC 9110 10.1.1", Taken, with("Expect: 100-continue\r\n")),
        payload("Expect: something else", "RFC 9110 10.1.1: may be ignored", Taken, with("Expect: 200-ok\r\n")),
        payload(
            "Expect and a length of nothing",
            "0.CL: the body is empty, what follows is the next request",
            Passed("/v1/track"),
            head("Expect: 100-continue\r\nContent-Length: 0\r\n", ""),
        ),
        payload("a request inside a GET's body", "the body is no request", Passed("/v1/thing"), within("GET /v1/thing")),
        payload("a request inside a POST to an unknown path", "the body is no request", Passed("/v1/thing"), within("POST /v1/thing")),
        payload("a request inside a preflight", "the body is no request", Answered, within("OPTIONS /v1/track")),
        payload("a request inside a health check", "the body is no request", Answered, within("GET /-/healthz")),
        payload(
            "a request inside a script's body",
            "the body is no request",
            Passed("/analytics-next/bundles/x.js"),
            within("GET /analytics-next/bundles/x.js"),
        ),
    ]
}
