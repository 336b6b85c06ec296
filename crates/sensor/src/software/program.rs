//! Which files a command starts: its program, its script, its Python.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::name;

/// Words of a command that are looked at; those behind belong to the script.
const LOOKED_AT: usize = 8;

/// The file of a program, as a shell would find it.
pub(super) fn resolve(word: &str, folder: &Path, search: Option<&OsStr>) -> Option<PathBuf> {
    if word.is_empty() {
        return None;
    }
    if word.contains('/') {
        return Some(folder.join(word)).filter(|p| p.is_file());
    }
    std::env::split_paths(search?).map(|dir| folder.join(dir).join(word)).find(|path| is_program(path))
}

fn is_program(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
}

/// The script among the arguments: the first that is a file with a name like one.
pub(super) fn script(words: &[String], folder: &Path) -> Option<PathBuf> {
    let is_script = |word: &&String| {
        let kinds = ["py", "sh", "bash", "js", "mjs", "pl", "rb", "lua"];
        Path::new(word).extension().and_then(OsStr::to_str).is_some_and(|e| kinds.contains(&e))
    };
    let scripts = words.iter().skip(1).take(LOOKED_AT).filter(is_script);
    scripts.map(|word| folder.join(word)).find(|path| path.is_file())
}

/// The Python that a command starts: a word of it, also behind `env` or `numactl`, or that of a script's first line.
pub(super) fn python(words: &[String], folder: &Path, search: Option<&OsStr>) -> Option<PathBuf> {
    let looked = words.iter().take(LOOKED_AT);
    let named = looked.filter(|w| is_python(w)).find_map(|word| resolve(word, folder, search));
    named.or_else(|| shebang(&resolve(words.first()?, folder, search)?, folder, search))
}

fn is_python(word: &str) -> bool {
    let name = name(Path::new(word));
    name.strip_prefix("python").is_some_and(|rest| rest.chars().all(|c| c.is_ascii_digit() || c == '.'))
}

/// The Python in `#!/venv/bin/python` or `#!/usr/bin/env python3`.
fn shebang(script: &Path, folder: &Path, search: Option<&OsStr>) -> Option<PathBuf> {
    let mut line = Vec::new();
    BufReader::new(std::fs::File::open(script).ok()?.take(512)).read_until(b'\n', &mut line).ok()?;
    let line = String::from_utf8(line).ok()?;
    let mut words = line.strip_prefix("#!")?.split_ascii_whitespace();
    words.find(|w| is_python(w)).and_then(|word| resolve(word, folder, search))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_python_of_a_command_is_found() {
        let root = tempfile::tempdir().unwrap();
        let bin = root.path().join("bin");
        std::fs::create_dir_all(&bin).unwrap();
        for (file, text) in
            [("python3", ""), ("vllm", "#!/usr/bin/env python3\n"), ("tool", "\u{7f}ELF"), ("env", "")]
        {
            std::fs::write(bin.join(file), text).unwrap();
            std::fs::set_permissions(bin.join(file), std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        std::fs::write(root.path().join("run.py"), "").unwrap();
        let check = |command: &str, expected: Option<&str>| {
            let words: Vec<String> = command.split(' ').map(str::to_owned).collect();
            let found = python(&words, root.path(), Some(bin.as_os_str()));
            assert_eq!(found, expected.map(|name| bin.join(name)), "{command}");
        };
        check("python3 -u run.py", Some("python3"));
        check("env A=1 python3 run.py", Some("python3"));
        check("vllm serve m", Some("python3"));
        check("bin/python3 x", Some("python3"));
        check("tool --fast", None);
        check("nowhere", None);
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(script(&words("python3 -u run.py x"), root.path()), Some(root.path().join("run.py")));
        assert_eq!(script(&words("python3 gone.py"), root.path()), None);
    }
}
