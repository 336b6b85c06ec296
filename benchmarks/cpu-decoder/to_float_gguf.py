import sys, numpy as np, gguf
from gguf.quants import dequantize, quantize
src, dst, kind = sys.argv[1:4]
T = gguf.GGMLQuantizationType[kind]
r = gguf.GGUFReader(src)
w = gguf.GGUFWriter(dst, "llama")
for k, f in r.fields.items():
    if k.startswith("GGUF.") or k in ("general.architecture","general.file_type","general.quantization_version"): continue
    t = f.types[0]; v = f.contents()
    if t == gguf.GGUFValueType.ARRAY: w.add_key_value(k, v, t, f.types[-1])
    else: w.add_key_value(k, v, t)
w.add_file_type({"F32":0,"F16":1,"BF16":32}[kind])
for t in r.tensors:
    x = np.array(dequantize(t.data, t.tensor_type), dtype=np.float32)
    if x.ndim == 1: w.add_tensor(t.name, x)
    else:
        q = x if kind=="F32" else quantize(x, T)
        w.add_tensor(t.name, q, raw_dtype=T)
w.write_header_to_file(); w.write_kv_data_to_file(); w.write_tensors_to_file(); w.close()
