//! What the dialect can be told, per source.

/// The knobs of one source's RudderStack copies. The default is what protocol.md section 3 asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Settings {
    /// What becomes of an event that has neither a userId nor an anonymousId.
    pub idless: Idless,
    /// What becomes of a client's IPv6 address.
    pub ipv6: Ipv6,
    /// Where an identify's traits go.
    pub traits: Traits,
}

/// What becomes of an event without ids (protocol.md T5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum Idless {
    /// It is refused, as Segment drops it too and RudderStack would refuse its whole batch.
    #[default]
    Refuse,
    /// It gets its own messageId as anonymousId: a person who is never seen again.
    Adopt,
}

/// What becomes of an IPv6 address that segue would fill in as `context.ip` (protocol.md T14).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum Ipv6 {
    /// It is filled in.
    #[default]
    Keep,
    /// It is left out, as Segment never collects it: both sides stay comparable.
    Drop,
}

/// Where an identify's traits go (protocol.md T19).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum Traits {
    /// Where the client put them.
    #[default]
    AsSent,
    /// Into `context.traits` as well, when that is absent: some of RudderStack's destinations read nothing else.
    AlsoInContext,
}
