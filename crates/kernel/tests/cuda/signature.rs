//! Parameters of kernels, read out of their source.

use stopwatt_kernel::cuda::plan::{Argument, Element, Operand};

/// Types of the parameters of `entry`, without `const` and `__restrict__`.
pub(crate) fn parameters(text: &str, entry: &str) -> Vec<String> {
    let kernels = text.split("extern \"C\" __global__").skip(1);
    for kernel in kernels {
        let head = kernel.split('{').next().unwrap_or_default();
        let Some(at) = head.find(&format!(" {entry}(")) else { continue };
        let list = &head[at + entry.len() + 2..];
        let list = &list[..list.rfind(')').expect("a parameter list ends")];
        return list
            .split(',')
            .map(str::trim)
            .filter(|parameter| !parameter.is_empty())
            .map(|parameter| {
                let words: Vec<&str> = parameter
                    .split(|c: char| c.is_whitespace())
                    .filter(|word| !matches!(*word, "const" | "__restrict__"))
                    .collect();
                // The last word is the name, with a star when the star is written there.
                words[..words.len() - 1].concat()
                    + if words[words.len() - 1].starts_with('*') { "*" } else { "" }
            })
            .collect();
    }
    panic!("no kernel {entry}");
}

/// Whether a parameter of type `parameter` takes `argument`.
pub(crate) fn takes(parameter: &str, argument: Argument, operands: &[Operand]) -> bool {
    match argument {
        Argument::I32(_) => matches!(parameter, "int" | "u32"),
        Argument::F32(_) => parameter == "float",
        Argument::Operand(i) => {
            let Some(operand) = operands.get(i) else { return false };
            match parameter {
                "T*" => matches!(operand.element, Element::F32 | Element::F16 | Element::Bf16),
                "S*" => matches!(operand.element, Element::F16 | Element::Bf16 | Element::F8E4m3),
                "float*" | "float4*" => operand.element == Element::F32,
                "int*" | "u32*" | "u64*" => operand.element == Element::I32,
                "uint4*" => true,
                _ => false,
            }
        }
    }
}
