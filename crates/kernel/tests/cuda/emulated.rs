//! Compiles a source with the emulation, runs its steps on operands in files, and checks every result.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use half::{bf16, f16};
use stopwatt_kernel::cuda::plan::{Argument, Column, Contents, Element, Fill, Operand, Plan, Step};

/// Folder of compiled kernels and operands, removed at the end.
pub(crate) struct Machine {
    folder: PathBuf,
    programs: RefCell<HashMap<String, PathBuf>>,
}

impl Machine {
    pub(crate) fn new() -> Self {
        static MACHINES: AtomicU32 = AtomicU32::new(0);
        let number = MACHINES.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("stopwatt-emulated-{}-{number}", std::process::id()));
        fs::create_dir_all(&folder).expect("the temporary folder can be written");
        let machine = Self { folder, programs: RefCell::default() };
        // Compiled once, because it is most of every program.
        let emulation = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cuda/emulate.hpp");
        let header = machine.folder.join("emulate.hpp");
        fs::copy(emulation, &header).expect("the emulation can be copied");
        let compiled = machine.folder.join("emulate.hpp.gch");
        machine
            .compile(&[OsStr::new("-x"), OsStr::new("c++-header"), header.as_os_str()], &compiled)
            .unwrap_or_else(|error| panic!("the emulation does not compile: {error}"));
        machine
    }

    /// Runs `plan` on random operands, in three orders of threads; `Err` says what is wrong.
    pub(crate) fn check(&self, plan: &Plan, seed: u64) -> Result<(), String> {
        let before: Vec<Vec<u8>> =
            plan.operands.iter().enumerate().map(|(i, o)| filled(o, seed << 8 | i as u64)).collect();
        let columns: Vec<Column<'_>> = plan
            .operands
            .iter()
            .zip(&before)
            .map(|(operand, bytes)| match operand.fill {
                Fill::Poison => Column::empty(operand.element),
                _ => Column::held(operand.element, bytes.clone()),
            })
            .collect();
        let contents = Contents { operands: &columns };
        let mut first = Vec::new();
        for order in ["0", "1", "2"] {
            self.run(plan, &before, order)?;
            let results: Vec<usize> = (0..before.len()).filter(|&i| plan.operands[i].result).collect();
            let found: Vec<Vec<u8>> = results.iter().map(|&i| self.read(i)).collect();
            if found == first {
                continue;
            }
            for (&i, bytes) in results.iter().zip(&found) {
                let found = widened(plan.operands[i].element, bytes);
                if let Some(index) = found.iter().position(|number| number.is_nan()) {
                    return Err(format!("operand {i}, element {index} is NaN (order {order})"));
                }
                for index in sample(found.len()) {
                    let (found, expectation) =
                        (found[index], (plan.expected)(&contents, i, index, found[index]));
                    if (found - expectation.value).abs() > expectation.tolerance {
                        return Err(format!(
                            "operand {i}, element {index}: {found} instead of {} ± {} (order {order})",
                            expectation.value, expectation.tolerance
                        ));
                    }
                }
            }
            first = found;
        }
        Ok(())
    }

    fn run(&self, plan: &Plan, before: &[Vec<u8>], order: &str) -> Result<(), String> {
        for (i, bytes) in before.iter().enumerate() {
            fs::write(self.folder.join(format!("operand{i}")), bytes).map_err(|error| error.to_string())?;
        }
        for step in &plan.steps {
            let program = self.program(step)?;
            let output = Command::new(&program)
                .current_dir(&self.folder)
                .env("ORDER", order)
                .args(arguments(step, plan.operands.len()))
                .output()
                .map_err(|error| error.to_string())?;
            if !output.status.success() {
                return Err(format!(
                    "{} ended with {} (order {order}): {}",
                    step.entry,
                    output.status,
                    String::from_utf8_lossy(&output.stderr)
                ));
            }
        }
        Ok(())
    }

    fn compile(&self, text: &[&OsStr], to: &Path) -> Result<(), String> {
        #[expect(clippy::disallowed_methods, reason = "a test may take its compiler from the environment")]
        let compiler = std::env::var("CXX").unwrap_or_else(|_| "c++".to_owned());
        let output = Command::new(compiler)
            .args(["-std=c++17", "-O1", "-w", "-ffp-contract=off", "-fno-strict-aliasing", "-I"])
            .arg(&self.folder)
            .args(text)
            .arg("-o")
            .arg(to)
            .output()
            .map_err(|error| error.to_string())?;
        if output.status.success() {
            return Ok(());
        }
        Err(String::from_utf8_lossy(&output.stderr).lines().take(8).collect::<Vec<_>>().join("\n"))
    }

    fn read(&self, operand: usize) -> Vec<u8> {
        fs::read(self.folder.join(format!("operand{operand}"))).expect("the program leaves its operands")
    }

    /// The program of a kernel with these definitions.
    fn program(&self, step: &Step) -> Result<PathBuf, String> {
        let kinds: String = step
            .arguments
            .iter()
            .map(|argument| match argument {
                Argument::Operand(_) => 'p',
                Argument::I32(_) => 'i',
                Argument::F32(_) => 'f',
            })
            .collect();
        let key = format!("{} {} {:?} {kinds}", step.source.name, step.entry, step.defines);
        if let Some(program) = self.programs.borrow().get(&key) {
            return Ok(program.clone());
        }
        let number = self.programs.borrow().len();
        let (text, program) =
            (self.folder.join(format!("kernel{number}.cpp")), self.folder.join(format!("kernel{number}")));
        fs::write(&text, program_text(step)).map_err(|error| error.to_string())?;
        self.compile(&[text.as_os_str()], &program)
            .map_err(|error| format!("{} does not compile:\n{error}", step.entry))?;
        self.programs.borrow_mut().insert(key, program.clone());
        Ok(program)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Grid, block, shared bytes, number of operands, and the arguments.
fn arguments(step: &Step, operands: usize) -> Vec<String> {
    let mut words: Vec<String> = step.grid.iter().chain(&step.block).map(u32::to_string).collect();
    words.push(step.shared_bytes.to_string());
    words.push(operands.to_string());
    words.extend(step.arguments.iter().map(|argument| match argument {
        Argument::Operand(i) => i.to_string(),
        Argument::I32(value) => value.to_string(),
        Argument::F32(value) => value.to_bits().to_string(),
    }));
    words
}

/// The kernel, and a `main` that launches it.
fn program_text(step: &Step) -> String {
    let mut text = "#include \"emulate.hpp\"\n".to_owned();
    for (name, value) in &step.defines {
        let _ = writeln!(text, "#define {name} {value}");
    }
    text.push_str(step.source.text);
    text.push_str("int main(int, char** words) {\n    emulated::Operands operands(atoi(words[8]));\n");
    let mut list = Vec::new();
    for (i, argument) in step.arguments.iter().enumerate() {
        let word = format!("words[{}]", i + 9);
        list.push(match argument {
            Argument::Operand(_) => format!("emulated::Pointer{{operands.at(atoi({word}))}}"),
            Argument::I32(_) => format!("(int)strtoll({word}, nullptr, 10)"),
            Argument::F32(_) => format!("bits_to_float((u32)strtoul({word}, nullptr, 10))"),
        });
    }
    let _ = write!(
        text,
        "    emulated::launch(emulated::three(words + 1), emulated::three(words + 4), atoi(words[7]),
                     [&] {{ {}({}); }});
    operands.write();
}}
",
        step.entry,
        list.join(", ")
    );
    text
}

/// All positions of a short result; of a long one its ends and about a thousand between.
fn sample(len: usize) -> Vec<usize> {
    const ALL: usize = 4000;
    if len <= ALL {
        return (0..len).collect();
    }
    // An odd step meets every position within an access and within a warp.
    let step = (len / 1000) | 1;
    (0..64).chain((64..len - 64).step_by(step)).chain(len - 64..len).collect()
}

/// Random bytes of an operand as its fill says.
fn filled(operand: &Operand, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state >> 33
    };
    let mut bytes = Vec::with_capacity(operand.len * operand.element.bytes());
    for i in 0..operand.len {
        let number = match &operand.fill {
            Fill::Uniform { scale } => f64::from(*scale) * (random() as f64 / f64::from(1u32 << 30) - 1.0),
            Fill::Integers(values) => f64::from(values[i]),
            Fill::Numbers(values) => f64::from(values[i]),
            Fill::Below { limit } => (random() % u64::from(*limit)) as f64,
            Fill::Zero => 0.0,
            Fill::Poison => {
                bytes.extend(std::iter::repeat_n(0xff, operand.element.bytes()));
                continue;
            }
        };
        match operand.element {
            Element::F32 => bytes.extend((number as f32).to_le_bytes()),
            Element::F16 => bytes.extend(f16::from_f64(number).to_le_bytes()),
            Element::Bf16 => bytes.extend(bf16::from_f64(number).to_le_bytes()),
            Element::I8 => bytes.push(number as i8 as u8),
            Element::I32 => bytes.extend((number as i32).to_le_bytes()),
            Element::F8E4m3 => bytes.push(e4m3_of(number)),
        }
    }
    bytes
}

fn widened(element: Element, bytes: &[u8]) -> Vec<f64> {
    bytes
        .chunks_exact(element.bytes())
        .map(|b| match element {
            Element::F32 => f64::from(f32::from_le_bytes([b[0], b[1], b[2], b[3]])),
            Element::F16 => f64::from(f16::from_le_bytes([b[0], b[1]])),
            Element::Bf16 => f64::from(bf16::from_le_bytes([b[0], b[1]])),
            Element::I8 => f64::from(b[0] as i8),
            Element::I32 => f64::from(i32::from_le_bytes([b[0], b[1], b[2], b[3]])),
            Element::F8E4m3 => e4m3(b[0]),
        })
        .collect()
}

/// Value of a number of 4 exponent and 3 mantissa bits without infinities.
fn e4m3(bits: u8) -> f64 {
    let (exponent, fraction) = (i32::from(bits >> 3 & 15), f64::from(bits & 7));
    let size = match (exponent, bits & 7) {
        (15, 7) => f64::NAN,
        (0, _) => fraction / 8.0 * 2f64.powi(-6),
        _ => (1.0 + fraction / 8.0) * 2f64.powi(exponent - 7),
    };
    if bits & 0x80 == 0 { size } else { -size }
}

/// Nearest such number; the positive ones ascend with their bits.
fn e4m3_of(value: f64) -> u8 {
    let size = value.abs();
    let (mut low, mut high) = (0u8, 126u8);
    while low < high {
        let middle = low + (high - low) / 2;
        if e4m3(middle) < size { low = middle + 1 } else { high = middle }
    }
    let below = low.saturating_sub(1);
    let nearest = if size - e4m3(below) < e4m3(low) - size { below } else { low };
    if value < 0.0 { nearest | 0x80 } else { nearest }
}
