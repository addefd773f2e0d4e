//! How the screen looks: colours, signs, lines. Every state is a word or a sign first; colour only says it again.

use jiff::{Timestamp, tz::TimeZone};
use ratatui::{
    style::{Color, Modifier, Style},
    symbols::{border, line},
};

use crate::model::WallTime;

/// What the terminal can show, and how the user wants it.
#[derive(Debug, Clone)]
pub struct Look {
    /// The colours.
    pub palette: Palette,
    /// Whether only ASCII is written.
    pub signs: Signs,
    /// The time zone that times of day are told in.
    pub zone: TimeZone,
}

/// Which colours are used. The background is never painted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Palette {
    /// None: bold, dim and reverse say it.
    Mono,
    /// The terminal's own sixteen.
    Terminal,
    /// Exact colours that can be told apart by everybody, for dark backgrounds (Okabe and Ito).
    Dark,
    /// The same for light ones.
    Light,
}

/// Which characters are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signs {
    /// Lines, blocks and braille.
    Unicode,
    /// ASCII alone.
    Ascii,
}

/// What a piece of text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Tone {
    #[default]
    Plain,
    /// Of less weight.
    Dim,
    /// Of more weight.
    Strong,
    /// Segment's.
    Segment,
    /// RudderStack's.
    Rudder,
    /// Something that somebody has to mend.
    Trouble,
    /// Something to know.
    Warning,
    /// A key to press.
    Key,
    /// The row that is selected, the screen that is shown.
    Selected,
    /// What the header turns into when everything is different.
    Alarm,
}

impl Look {
    pub(super) fn style(&self, tone: Tone) -> Style {
        let plain = Style::new();
        let modified = match tone {
            Tone::Plain | Tone::Segment | Tone::Rudder => plain,
            Tone::Dim => plain.add_modifier(Modifier::DIM),
            Tone::Strong | Tone::Trouble | Tone::Warning | Tone::Key => plain.add_modifier(Modifier::BOLD),
            Tone::Selected => plain.add_modifier(Modifier::REVERSED),
            Tone::Alarm => plain.add_modifier(Modifier::REVERSED | Modifier::BOLD),
        };
        match self.colour(tone) {
            Some(colour) => modified.fg(colour),
            None => modified,
        }
    }

    const fn colour(&self, tone: Tone) -> Option<Color> {
        let (segment, rudder, trouble) = match self.palette {
            Palette::Mono => return None,
            Palette::Terminal => (Color::Cyan, Color::Magenta, Color::Red),
            Palette::Dark => (Color::Rgb(0x56, 0xb4, 0xe9), Color::Rgb(0xe6, 0x9f, 0x00), Color::Rgb(0xd5, 0x5e, 0x00)),
            Palette::Light => (Color::Rgb(0x00, 0x72, 0xb2), Color::Rgb(0x8a, 0x5a, 0x00), Color::Rgb(0xb0, 0x3a, 0x00)),
        };
        match tone {
            Tone::Segment => Some(segment),
            Tone::Rudder => Some(rudder),
            Tone::Trouble | Tone::Alarm => Some(trouble),
            Tone::Plain | Tone::Dim | Tone::Strong | Tone::Selected | Tone::Warning | Tone::Key => None,
        }
    }

    /// The sign, or what stands for it in ASCII.
    pub(super) const fn sign(&self, sign: Sign) -> &'static str {
        let (unicode, ascii) = match sign {
            Sign::Live => ("\u{25cf}", "*"),
            Sign::Lost => ("\u{2717}", "x"),
            Sign::Differs => ("\u{2260}", "/="),
            Sign::Ellipsis => ("\u{2026}", ".."),
            Sign::Arrow => ("\u{2192}", "->"),
            Sign::Mark => ("*", "*"),
            Sign::Full => ("\u{2593}", "#"),
            Sign::Empty => ("\u{2591}", "."),
        };
        match self.signs {
            Signs::Unicode => unicode,
            Signs::Ascii => ascii,
        }
    }

    pub(super) const fn border(&self) -> border::Set<'static> {
        match self.signs {
            Signs::Unicode => border::PLAIN,
            Signs::Ascii => border::Set {
                top_left: "+",
                top_right: "+",
                bottom_left: "+",
                bottom_right: "+",
                vertical_left: "|",
                vertical_right: "|",
                horizontal_top: "-",
                horizontal_bottom: "-",
            },
        }
    }

    /// Left, corner, below and tick of a graph's axes.
    pub(super) const fn axes(&self) -> (&'static str, &'static str, &'static str, &'static str) {
        match self.signs {
            Signs::Unicode => (line::VERTICAL, line::BOTTOM_LEFT, line::HORIZONTAL, line::VERTICAL_LEFT),
            Signs::Ascii => ("|", "+", "-", "+"),
        }
    }

    /// The time of day, `14:03:21`; the text itself when it is no time.
    pub(super) fn time_of_day(&self, rfc3339: &str) -> String {
        self.told(rfc3339, "%H:%M:%S")
    }

    /// The day, `2026-11-23`.
    pub(super) fn day_of(&self, rfc3339: &str) -> String {
        self.told(rfc3339, "%Y-%m-%d")
    }

    /// Month, day and time of day, `11-23 14:03:21`.
    pub(super) fn day_and_time(&self, rfc3339: &str) -> String {
        self.told(rfc3339, "%m-%d %H:%M:%S")
    }

    fn told(&self, rfc3339: &str, form: &str) -> String {
        let moment = WallTime::parse(rfc3339).and_then(|time| Timestamp::from_millisecond(time.as_millis()).ok());
        moment.map_or_else(|| crate::model::inert(rfc3339).into_owned(), |moment| self.zone.to_datetime(moment).strftime(form).to_string())
    }
}

/// Signs that are more than letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sign {
    Live,
    Lost,
    Differs,
    Ellipsis,
    Arrow,
    Mark,
    Full,
    Empty,
}
