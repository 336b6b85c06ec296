//! Fused attention through cuDNN's graph interface (`cudnn_graph.h` of cuDNN 9).

mod graph;

use std::ffi::{c_int, c_void};
use std::rc::Rc;

pub(super) use self::graph::Form;
use self::graph::{Graph, Mode, Node, Role, Value};
use super::dnn::Dnn;
use super::ffi::cudnn::DataType;
use super::ffi::driver::Handle;
use super::memory::Buffer;
use crate::case::CaseError;

/// `CUDNN_BACKEND_…_DESCRIPTOR`
#[derive(Debug, Clone, Copy)]
#[repr(i32)]
enum Kind {
    Pointwise = 0,
    EngineConfig = 3,
    Heuristic = 4,
    Plan = 5,
    PointwiseOperation = 13,
    OperationGraph = 15,
    VariantPack = 16,
    Tensor = 17,
    Matmul = 18,
    MatmulOperation = 19,
    Reduction = 21,
    ReductionOperation = 22,
}

/// `CUDNN_TYPE_…`
mod kind_of {
    use std::ffi::c_int;

    pub(super) const HANDLE: c_int = 0;
    pub(super) const DATA_TYPE: c_int = 1;
    pub(super) const BOOLEAN: c_int = 2;
    pub(super) const INT64: c_int = 3;
    pub(super) const POINTER: c_int = 6;
    pub(super) const HEURISTIC: c_int = 8;
    pub(super) const POINTWISE: c_int = 14;
    pub(super) const DESCRIPTOR: c_int = 15;
    pub(super) const REDUCTION: c_int = 18;
}

/// `CUDNN_HEUR_MODE_A`, then `…_FALLBACK`
const HEURISTICS: [c_int; 2] = [3, 2];
/// Engine configurations of a heuristic that are tried at most.
const MOST_CONFIGURATIONS: usize = 16;

impl Mode {
    /// `CUDNN_POINTWISE_…`
    fn code(self) -> c_int {
        match self {
            Self::Add => 0,
            Self::Mul => 1,
            Self::Div => 6,
            Self::Sub => 9,
            Self::Exp => 13,
            Self::Log => 15,
            Self::NotLess => 303,
            Self::RowIndex | Self::ColumnIndex => 501,
            Self::Select => 601,
        }
    }

    /// Dimension that an index counts along.
    fn axis(self) -> Option<i64> {
        match self {
            Self::RowIndex => Some(2),
            Self::ColumnIndex => Some(3),
            _ => None,
        }
    }
}

/// A descriptor of a graph; `part` tells which one when it is refused.
struct Part {
    dnn: Rc<Dnn>,
    handle: Handle,
    part: String,
}

impl Part {
    fn new(dnn: &Rc<Dnn>, kind: Kind, part: impl Into<String>) -> Result<Self, CaseError> {
        let mut new = Self { dnn: dnn.clone(), handle: std::ptr::null_mut(), part: part.into() };
        // SAFETY: a valid place for the answer.
        let code = unsafe { (dnn.table.backend_create)(kind as c_int, &raw mut new.handle) };
        dnn.table.check_part("cudnnBackendCreateDescriptor", &new.part, code)?;
        Ok(new)
    }

    /// Sets an attribute. `T` must be what `kind` says.
    fn set<T>(&self, attribute: c_int, kind: c_int, values: &[T]) -> Result<(), CaseError> {
        // SAFETY: the descriptor lives; the library copies as many values as stated before it returns.
        let code = unsafe {
            (self.dnn.table.backend_set)(
                self.handle,
                attribute,
                kind,
                values.len() as i64,
                values.as_ptr().cast(),
            )
        };
        let part = format!("attribute {attribute} of {}", self.part);
        self.dnn.table.check_part("cudnnBackendSetAttribute", &part, code)
    }

    fn link(&self, attribute: c_int, to: &Self) -> Result<(), CaseError> {
        self.set(attribute, kind_of::DESCRIPTOR, &[to.handle])
    }

    fn finalize(self) -> Result<Self, CaseError> {
        // SAFETY: the descriptor lives.
        let code = unsafe { (self.dnn.table.backend_finalize)(self.handle) };
        self.dnn.table.check_part("cudnnBackendFinalize", &self.part, code)?;
        Ok(self)
    }

    /// Reads up to `values.len()` values of an attribute; answers how many there were.
    fn get<T>(&self, attribute: c_int, kind: c_int, values: &mut [T]) -> Result<usize, CaseError> {
        let mut count = 0_i64;
        // SAFETY: the place has room for as many values as stated, of the type that `kind` says.
        let code = unsafe {
            (self.dnn.table.backend_get)(
                self.handle,
                attribute,
                kind,
                values.len() as i64,
                &raw mut count,
                values.as_mut_ptr().cast(),
            )
        };
        let part = format!("attribute {attribute} of {}", self.part);
        self.dnn.table.check_part("cudnnBackendGetAttribute", &part, code)?;
        Ok(usize::try_from(count).unwrap_or(0).min(values.len()))
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if !self.handle.is_null() {
            // SAFETY: created by this, destroyed once.
            unsafe { (self.dnn.table.backend_destroy)(self.handle) };
        }
    }
}

/// Attention of one form on operands that stay where they are.
pub(super) struct Sdpa {
    form: Form,
    dnn: Rc<Dnn>,
    plan: Part,
    /// Addresses of operands, one pack for each set.
    packs: Vec<Part>,
    _workspace: Buffer,
    /// Numbers that the packs point to.
    _values: Box<[u32]>,
}

impl Sdpa {
    /// Builds the plan that the heuristic puts first among those that work. `place` tells where an operand of a set lies.
    pub(super) fn new(
        dnn: Rc<Dnn>,
        form: Form,
        sets: usize,
        place: &dyn Fn(usize, usize) -> u64,
    ) -> Result<Self, CaseError> {
        let version = dnn.table.numbers();
        if version[0] < 9 {
            return Err(CaseError::Unsupported {
                reason: format!("cuDNN 9 or newer is needed, this is {}", dnn.table.version()),
            });
        }
        // Before 9.10 the pattern is made with the lowest finite number.
        let graph = form.graph(if version < [9, 10, 0] { f32::MIN } else { f32::NEG_INFINITY });
        let tensors = (0..graph.tensors.len())
            .map(|at| tensor(&dnn, &graph, at))
            .collect::<Result<Vec<_>, CaseError>>()?;
        let mut operations = Vec::new();
        let mut descriptions = Vec::new();
        for node in &graph.nodes {
            let (description, operation) = operation(&dnn, &graph, &tensors, *node)?;
            descriptions.push(description);
            operations.push(operation);
        }
        let whole = Part::new(&dnn, Kind::OperationGraph, "the graph of operations")?;
        whole.set(800, kind_of::HANDLE, &[dnn.handle])?;
        let handles: Vec<Handle> = operations.iter().map(|o| o.handle).collect();
        whole.set(801, kind_of::DESCRIPTOR, &handles)?;
        let plan = plan(&dnn, &whole.finalize()?)?;

        let mut bytes = [0_i64];
        plan.get(402, kind_of::INT64, &mut bytes)?;
        let workspace = Buffer::new(&dnn.gpu, usize::try_from(bytes[0]).unwrap_or(0))?;
        let values: Box<[u32]> = graph.tensors.iter().map(|t| bits(t.role)).collect();
        let packs = (0..sets)
            .map(|set| {
                let mut ids = Vec::new();
                let mut pointers: Vec<*mut c_void> = Vec::new();
                for (at, tensor) in graph.tensors.iter().enumerate() {
                    pointers.push(match tensor.role {
                        Role::Operand(position) => place(position, set) as *mut c_void,
                        Role::Value(_) => std::ptr::from_ref(&values[at]).cast_mut().cast(),
                        Role::Between => continue,
                    });
                    ids.push(id(at));
                }
                let pack = Part::new(&dnn, Kind::VariantPack, "the pack of addresses")?;
                pack.set(1000, kind_of::INT64, &ids)?;
                pack.set(1001, kind_of::POINTER, &pointers)?;
                pack.set(1003, kind_of::POINTER, &[workspace.address() as *mut c_void])?;
                pack.finalize()
            })
            .collect::<Result<Vec<_>, CaseError>>()?;
        let sdpa = Self { form, dnn, plan, packs, _workspace: workspace, _values: values };
        // The first call loads code.
        sdpa.issue(0)?;
        sdpa.dnn.gpu.wait()?;
        Ok(sdpa)
    }

    pub(super) fn form(&self) -> Form {
        self.form
    }

    /// For instance `cudnn sdpa 9.19.0`.
    pub(super) fn name(&self) -> String {
        format!("cudnn sdpa {}", self.dnn.table.version())
    }

    /// Queues one call on the device's stream.
    pub(super) fn issue(&self, set: usize) -> Result<(), CaseError> {
        let pack = &self.packs[set % self.packs.len()];
        // SAFETY: plan and pack live, and so does what the pack points to: workspace and numbers here, operands with the
        // owner of this.
        let code =
            unsafe { (self.dnn.table.backend_execute)(self.dnn.handle, self.plan.handle, pack.handle) };
        self.dnn.table.check_part("cudnnBackendExecute", &self.plan.part, code)
    }
}

/// Identity of the tensor at a position.
fn id(at: usize) -> i64 {
    at as i64 + 1
}

/// A number as it lies in memory.
fn bits(role: Role) -> u32 {
    match role {
        Role::Value(Value::F32(value)) => value.to_bits(),
        Role::Value(Value::I32(value)) => value as u32,
        Role::Operand(_) | Role::Between => 0,
    }
}

fn tensor(dnn: &Rc<Dnn>, graph: &Graph, at: usize) -> Result<Part, CaseError> {
    let tensor = &graph.tensors[at];
    let part = Part::new(dnn, Kind::Tensor, format!("tensor {at} ({:?})", tensor.role))?;
    part.set(900, kind_of::INT64, &[16_i64])?;
    part.set(901, kind_of::DATA_TYPE, &[tensor.data as c_int])?;
    part.set(902, kind_of::INT64, &tensor.dims)?;
    part.set(903, kind_of::INT64, &tensor.strides)?;
    part.set(906, kind_of::INT64, &[id(at)])?;
    part.set(907, kind_of::BOOLEAN, &[tensor.role == Role::Between])?;
    part.set(908, kind_of::BOOLEAN, &[matches!(tensor.role, Role::Value(_))])?;
    part.finalize()
}

/// What an operation does, and the operation on its tensors.
fn operation(dnn: &Rc<Dnn>, graph: &Graph, tensors: &[Part], node: Node) -> Result<(Part, Part), CaseError> {
    let single = [DataType::F32 as c_int];
    let what = format!("{node:?}");
    Ok(match node {
        Node::Matmul { a, b, c } => {
            let matmul = Part::new(dnn, Kind::Matmul, what.clone())?;
            matmul.set(1500, kind_of::DATA_TYPE, &single)?;
            let matmul = matmul.finalize()?;
            let operation = Part::new(dnn, Kind::MatmulOperation, what)?;
            for (attribute, at) in [(1520, a), (1521, b), (1522, c)] {
                operation.link(attribute, &tensors[at])?;
            }
            operation.link(1523, &matmul)?;
            (matmul, operation.finalize()?)
        }
        Node::Pointwise { mode, x, b, t, y } => {
            let pointwise = Part::new(dnn, Kind::Pointwise, what.clone())?;
            pointwise.set(0, kind_of::POINTWISE, &[mode.code()])?;
            // Indices are made in single precision, whatever they come out as.
            let precision = match (mode, graph.tensors[y].data) {
                (Mode::NotLess, _) => DataType::Bool,
                (Mode::Add | Mode::Sub, DataType::I32) => DataType::I32,
                _ => DataType::F32,
            };
            pointwise.set(1, kind_of::DATA_TYPE, &[precision as c_int])?;
            if let Some(axis) = mode.axis() {
                pointwise.set(9, kind_of::INT64, &[axis])?;
            }
            let pointwise = pointwise.finalize()?;
            let operation = Part::new(dnn, Kind::PointwiseOperation, what)?;
            operation.link(750, &pointwise)?;
            for (attribute, at) in [(751, Some(x)), (752, b), (753, Some(y)), (758, t)] {
                if let Some(at) = at {
                    operation.link(attribute, &tensors[at])?;
                }
            }
            (pointwise, operation.finalize()?)
        }
        Node::Reduction { max, x, y } => {
            let reduction = Part::new(dnn, Kind::Reduction, what.clone())?;
            // CUDNN_REDUCE_TENSOR_MAX and …_ADD
            reduction.set(1600, kind_of::REDUCTION, &[if max { 3 } else { 0 } as c_int])?;
            reduction.set(1601, kind_of::DATA_TYPE, &single)?;
            let reduction = reduction.finalize()?;
            let operation = Part::new(dnn, Kind::ReductionOperation, what)?;
            operation.link(1610, &tensors[x])?;
            operation.link(1611, &tensors[y])?;
            operation.link(1612, &reduction)?;
            (reduction, operation.finalize()?)
        }
    })
}

/// The first plan that can be built, in the order of the heuristics; else why the first one cannot.
fn plan(dnn: &Rc<Dnn>, graph: &Part) -> Result<Part, CaseError> {
    let mut first = None;
    for mode in HEURISTICS {
        match plan_of(dnn, graph, mode) {
            Ok(plan) => return Ok(plan),
            Err(lost @ CaseError::Lost { .. }) => return Err(lost),
            Err(refused) => first = first.or(Some(refused)),
        }
    }
    Err(first.unwrap_or_else(none))
}

fn none() -> CaseError {
    CaseError::Unsupported { reason: "cuDNN's heuristics know no engine for the graph".to_owned() }
}

fn plan_of(dnn: &Rc<Dnn>, graph: &Part, mode: c_int) -> Result<Part, CaseError> {
    let heuristic = Part::new(dnn, Kind::Heuristic, format!("heuristic {mode}"))?;
    heuristic.link(201, graph)?;
    heuristic.set(200, kind_of::HEURISTIC, &[mode])?;
    let heuristic = heuristic.finalize()?;
    let configurations = (0..MOST_CONFIGURATIONS)
        .map(|n| Part::new(dnn, Kind::EngineConfig, format!("engine configuration {n}")))
        .collect::<Result<Vec<_>, CaseError>>()?;
    let mut handles: Vec<Handle> = configurations.iter().map(|c| c.handle).collect();
    let found = heuristic.get(202, kind_of::DESCRIPTOR, &mut handles)?;
    let mut first = None;
    for (number, configuration) in configurations[..found].iter().enumerate() {
        let built =
            Part::new(dnn, Kind::Plan, format!("plan {number} of heuristic {mode}")).and_then(|plan| {
                plan.set(400, kind_of::HANDLE, &[dnn.handle])?;
                plan.link(401, configuration)?;
                plan.finalize()
            });
        match built {
            Ok(plan) => return Ok(plan),
            Err(lost @ CaseError::Lost { .. }) => return Err(lost),
            Err(refused) => first = first.or(Some(refused)),
        }
    }
    Err(first.unwrap_or_else(none))
}
