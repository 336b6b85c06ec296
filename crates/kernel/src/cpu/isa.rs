//! Which vector instructions the operators may use.

/// An instruction set that the operators are compiled for. All of them are in one binary; the choice is made at run
/// time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Isa(Kind);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    Portable,
}

impl Isa {
    /// The widest instruction set of this machine.
    pub fn best() -> Self {
        Self::available()[0]
    }

    /// Every instruction set of this machine, widest first. The last one is always [`Isa::PORTABLE`].
    pub fn available() -> Vec<Self> {
        let mut found = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            // Each is asked for by name, since kernels are compiled with all of them switched on.
            let avx2 = is_x86_feature_detected!("avx2")
                && is_x86_feature_detected!("fma")
                && is_x86_feature_detected!("f16c");
            if avx2 && is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vl") {
                found.push(Self(Kind::Avx512));
            }
            if avx2 {
                found.push(Self(Kind::Avx2));
            }
        }
        found.push(Self::PORTABLE);
        found
    }

    /// Plain loops that the compiler vectorises for the base instruction set of the target (SSE2, NEON).
    pub const PORTABLE: Self = Self(Kind::Portable);

    /// Name for people and files.
    pub fn name(self) -> &'static str {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => "avx512",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => "avx2",
            Kind::Portable => "portable",
        }
    }

    /// `Isa` can be built only from what was detected, so whoever holds the kind may run its code.
    pub(crate) fn kind(self) -> Kind {
        self.0
    }
}
