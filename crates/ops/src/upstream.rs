//! An upstream as the operator writes it: `URL,name=…,variant=…,weight=…,key-env=VAR,auth=pass,gpu-hour=…`.

use stopwatt_load::{Target, TargetError};

/// An upstream to send requests to.
#[derive(Debug, Clone)]
pub struct Spec {
    /// Where it is. Its key, if any, is among its headers and is never printed.
    pub target: Target,
    /// Name in metrics and answers.
    pub name: String,
    /// The variant of an A/B split that it belongs to.
    pub variant: String,
    /// Share of its variant's requests, and of all requests in a split.
    pub weight: f64,
    /// Environment variable that holds its key.
    pub key_env: Option<String>,
    /// The client's own `Authorization` goes to it.
    pub passes_authorization: bool,
    /// What its machine costs an hour, in dollars.
    pub per_hour: Option<f64>,
}

/// The variant of upstreams that name none.
pub const DEFAULT_VARIANT: &str = "default";

/// Why an upstream cannot be understood.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpecError {
    /// The address.
    #[error("`{given}` is no address of an upstream")]
    Address {
        /// What was given, up to the first comma.
        given: String,
        /// What is wrong with it.
        #[source]
        source: TargetError,
    },
    /// A setting that does not exist.
    #[error("`{given}` is no setting of an upstream")]
    Setting {
        /// What was given.
        given: String,
    },
    /// A value that makes no sense.
    #[error("`{given}` has no usable value")]
    Value {
        /// What was given.
        given: String,
    },
    /// Two upstreams of one name.
    #[error("two upstreams are named `{name}`")]
    Twice {
        /// The name.
        name: String,
    },
    /// The environment variable of a key.
    #[error("the environment variable {name} holds no usable key")]
    Key {
        /// Its name.
        name: String,
    },
    /// Nowhere to send requests.
    #[error("there is no upstream")]
    None,
}

impl SpecError {
    /// What to try.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Address { .. } => "write http://HOST:PORT or https://HOST, then settings after commas",
            Self::Setting { .. } => "settings are name, variant, weight, key-env, auth and gpu-hour",
            Self::Value { .. } => "weight is a number above 0, auth is `pass` or `drop`, names are not empty",
            Self::Twice { .. } => "give them names: --upstream URL,name=a --upstream URL,name=b",
            Self::Key { .. } => "export it before the proxy starts",
            Self::None => "name at least one with --upstream URL",
        })
    }
}

impl Spec {
    /// Reads an upstream. Without a name it is called after its host and port.
    pub fn parse(text: &str) -> Result<Self, SpecError> {
        let (url, settings) = text.split_once(',').unwrap_or((text, ""));
        let target =
            Target::parse(url).map_err(|source| SpecError::Address { given: url.to_owned(), source })?;
        let mut spec = Self {
            name: format!("{}:{}", target.host(), target.port()),
            target,
            variant: DEFAULT_VARIANT.to_owned(),
            weight: 1.0,
            key_env: None,
            passes_authorization: false,
            per_hour: None,
        };
        for given in settings.split(',').map(str::trim).filter(|s| !s.is_empty()) {
            let bad = || SpecError::Value { given: given.to_owned() };
            let (key, value) = given.split_once('=').ok_or_else(bad)?;
            if value.is_empty() {
                return Err(bad());
            }
            match key {
                "name" => spec.name = label(value).ok_or_else(bad)?,
                "variant" => spec.variant = label(value).ok_or_else(bad)?,
                "weight" => {
                    spec.weight =
                        value.parse().ok().filter(|w: &f64| w.is_finite() && *w > 0.0).ok_or_else(bad)?;
                }
                "gpu-hour" => {
                    let price = value.parse().ok().filter(|p: &f64| p.is_finite() && *p >= 0.0);
                    spec.per_hour = Some(price.ok_or_else(bad)?);
                }
                "key-env" => spec.key_env = Some(value.to_owned()),
                "auth" => {
                    spec.passes_authorization = match value {
                        "pass" => true,
                        "drop" => false,
                        _ => return Err(bad()),
                    }
                }
                _ => return Err(SpecError::Setting { given: given.to_owned() }),
            }
        }
        Ok(spec)
    }

    /// Path before `/v1`: empty or `/something`.
    pub(crate) fn prefix(&self) -> &str {
        self.target.prefix()
    }

    /// Value of the `Host` header.
    pub(crate) fn authority(&self) -> String {
        self.target.authority()
    }

    /// Refuses a list that is empty or names two alike.
    pub fn check(specs: &[Self]) -> Result<(), SpecError> {
        if specs.is_empty() {
            return Err(SpecError::None);
        }
        for (i, spec) in specs.iter().enumerate() {
            if specs[..i].iter().any(|s| s.name == spec.name) {
                return Err(SpecError::Twice { name: spec.name.clone() });
            }
        }
        Ok(())
    }
}

/// A name that can stand in a header and a label.
pub(crate) fn label(text: &str) -> Option<String> {
    let fine = text.len() <= 64 && text.bytes().all(|b| b.is_ascii_graphic() && b != b'"' && b != b'\\');
    fine.then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_follow_the_address() {
        let spec = Spec::parse(
            "http://10.0.0.1:8000/v1,weight=9,name=a,variant=fp8,key-env=KEY_A,auth=pass,gpu-hour=2.5",
        )
        .unwrap();
        assert_eq!(spec.target.base_url(), "http://10.0.0.1:8000");
        assert_eq!((spec.name.as_str(), spec.variant.as_str(), spec.weight), ("a", "fp8", 9.0));
        assert_eq!((spec.key_env.as_deref(), spec.passes_authorization), (Some("KEY_A"), true));
        assert_eq!(spec.per_hour, Some(2.5));
        let plain = Spec::parse("http://localhost:8001").unwrap();
        assert_eq!((plain.name.as_str(), plain.variant.as_str()), ("localhost:8001", DEFAULT_VARIANT));
        assert!(!plain.passes_authorization);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let kind = |text: &str| Spec::parse(text).unwrap_err();
        assert!(matches!(kind("localhost:8000"), SpecError::Address { .. }));
        assert!(Spec::parse("https://h").unwrap().target.is_https());
        assert!(matches!(kind("http://h,wieght=2"), SpecError::Setting { .. }));
        for bad in
            ["weight=0", "weight=x", "weight=inf", "name=", "name", "auth=maybe", "gpu-hour=-1", "name=a\"b"]
        {
            assert!(matches!(kind(&format!("http://h,{bad}")), SpecError::Value { .. }), "{bad}");
        }
        let a = Spec::parse("http://h").unwrap();
        assert!(matches!(Spec::check(&[a.clone(), a]), Err(SpecError::Twice { .. })));
        assert!(matches!(Spec::check(&[]), Err(SpecError::None)));
    }
}
