//! The catalogue of faults.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

macro_rules! faults {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal),* $(,)?) => {
        /// A fault of one backend.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(rename_all = "snake_case")]
        #[schemars(inline)]
        pub enum Fault { $($(#[doc = $doc])+ $name),* }

        impl Fault {
            /// Every fault, the control first.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// Its name.
            pub const fn name(self) -> &'static str { match self { $(Self::$name => $text),* } }

            /// What it does.
            pub const fn meaning(self) -> &'static str { match self { $(Self::$name => concat!($($doc),+)),* } }

            /// The fault of a name.
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($text => Some(Self::$name),)* _ => None }
            }
        }
    };
}

faults! {
    /// No fault: the control.
    None = "none",
    /// Every request is answered with status 500.
    Http500 = "http500",
    /// Every request is answered with status 429 and `Retry-After: 1`.
    Http429 = "http429",
    /// The first byte of every answer is held back.
    SlowFirstByte = "slow_first_byte",
    /// Streams stand still with their connections open; the engine's other pages answer.
    Stall = "stall",
    /// Streams are reset after some events.
    Reset = "reset",
    /// Streams end after some events without `[DONE]`, with their chunked body closed as it should be.
    CleanCut = "clean_cut",
    /// An event of every stream is cut in half and is no JSON.
    Malformed = "malformed",
    /// Streams trickle a few bytes at a time.
    SlowDrip = "slow_drip",
    /// Connections are accepted and never answered; those that are open fall silent.
    HalfOpen = "half_open",
    /// New connections get no answer at all; those that are open fall silent.
    BlackHole = "black_hole",
    /// Connections are refused, those that are open are reset.
    Refused = "refused",
    /// Refused and well in turns of half a second.
    Flapping = "flapping",
    /// Every piece of a stream comes later by 20 to 60 ms, at random.
    Delay = "delay",
    /// All backends refuse connections.
    AllDown = "all_down",
    /// The process of the engine is stopped (SIGSTOP), and goes on afterwards.
    Sigstop = "sigstop",
    /// The process of the engine is killed (SIGKILL), and another is started afterwards.
    Sigkill = "sigkill",
}

impl Fault {
    /// Whether it needs the process of the engine.
    pub const fn needs_process(self) -> bool {
        matches!(self, Self::Sigstop | Self::Sigkill)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_files() {
        for fault in Fault::ALL {
            assert_eq!(serde_json::to_value(fault).unwrap(), fault.name());
            assert_eq!(Fault::from_name(fault.name()), Some(*fault));
        }
    }
}
