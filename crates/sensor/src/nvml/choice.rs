//! Which GPUs of a machine are looked at: those that are named, else those that the target can see, else all.

/// A GPU as it can be named.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Named {
    /// Position among the machine's GPUs.
    pub index: u32,
    /// Its UUID, `GPU-…`.
    pub uuid: Option<String>,
}

/// Positions in `all` of the GPUs that are meant. `asked` is `all`, or positions and UUIDs between commas; `visible` is
/// CUDA_VISIBLE_DEVICES of the target, which counts when nothing is asked for.
///
/// # Errors
/// A GPU that was asked for is not there.
pub fn choose(asked: Option<&str>, visible: Option<&str>, all: &[Named]) -> Result<Vec<usize>, String> {
    let everything = || (0..all.len()).collect();
    match (asked.map(str::trim), visible) {
        (Some("all"), _) | (None, None) => Ok(everything()),
        (Some(asked), _) => {
            let mut found = Vec::new();
            for word in asked.split(',').map(str::trim).filter(|w| !w.is_empty()) {
                let at = position(word, all).ok_or_else(|| {
                    let last = all.len().saturating_sub(1);
                    format!("GPU `{word}` is not on this machine, which has 0 to {last}; give positions, UUIDs or `all`")
                })?;
                if !found.contains(&at) {
                    found.push(at);
                }
            }
            if found.is_empty() {
                return Err("no GPU is named; give positions, UUIDs or `all`".to_owned());
            }
            Ok(found)
        }
        // A slice of a GPU has no power of its own: the whole machine is looked at.
        (None, Some(visible)) if visible.contains("MIG-") => Ok(everything()),
        // CUDA takes the entries up to the first that makes no sense (CUDA C++ programming guide, "Environment variables").
        (None, Some(visible)) => {
            let mut found = Vec::new();
            for at in visible.split(',').map_while(|word| position(word.trim(), all)) {
                if !found.contains(&at) {
                    found.push(at);
                }
            }
            Ok(found)
        }
    }
}

/// A GPU by its position, or by its UUID or an unambiguous begin of it.
fn position(word: &str, all: &[Named]) -> Option<usize> {
    if let Ok(index) = word.parse::<u32>() {
        return all.iter().position(|g| g.index == index);
    }
    let begins = |g: &Named| {
        let begin = g.uuid.as_deref().and_then(|uuid| uuid.get(..word.len()));
        begin.is_some_and(|begin| word.len() > 4 && begin.eq_ignore_ascii_case(word))
    };
    let mut found = all.iter().enumerate().filter(|(_, g)| begins(g)).map(|(i, _)| i);
    found.next().filter(|_| found.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine() -> Vec<Named> {
        let uuids = ["GPU-aa11-0", "GPU-aa22-0", "GPU-bb33-0"];
        uuids.iter().zip(0..).map(|(u, index)| Named { index, uuid: Some((*u).to_owned()) }).collect()
    }

    #[track_caller]
    fn check(asked: Option<&str>, visible: Option<&str>, expected: &[usize]) {
        assert_eq!(choose(asked, visible, &machine()).as_deref(), Ok(expected), "{asked:?} {visible:?}");
    }

    #[test]
    fn those_that_are_named_in_their_order() {
        check(Some("2,0"), Some("1"), &[2, 0]);
        check(Some("GPU-bb33-0, gpu-aa11,2"), None, &[2, 0]);
        check(Some("all"), Some("1"), &[0, 1, 2]);
        for wrong in ["3", "GPU-aa", "GPU", "", "x,0"] {
            assert!(choose(Some(wrong), None, &machine()).is_err(), "{wrong}");
        }
        assert!(choose(Some("0"), None, &[]).is_err());
    }

    #[test]
    fn else_those_that_the_target_sees() {
        check(None, None, &[0, 1, 2]);
        check(None, Some("1,2"), &[1, 2]);
        check(None, Some("GPU-bb33"), &[2]);
        check(None, Some("0,9,1"), &[0]);
        check(None, Some("-1"), &[]);
        check(None, Some(""), &[]);
        check(None, Some("MIG-1234"), &[0, 1, 2]);
    }
}
