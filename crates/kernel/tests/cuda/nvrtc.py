"""Compiles CUDA sources with the runtime compiler, without a GPU.

    nvrtc.py FOLDER < requests > answers

FOLDER holds libnvrtc. A request is one line of JSON: {"name", "text", "architecture", "defines": [[name, value]]}; its
answer is one line: {"name", "architecture", "error": text or null, "kernels": {entry: {"registers", "spilled",
"shared"}}}, with figures of the assembler's log.
"""

import ctypes
import glob
import json
import re
import sys


def library(folder):
    # The builtins are found by name alone, so they must be there before.
    for name in ("libnvrtc-builtins.so.*", "libnvrtc.so.*"):
        (path,) = glob.glob(f"{folder}/{name}")
        loaded = ctypes.CDLL(path, ctypes.RTLD_GLOBAL)
    return loaded


def compiled(nvrtc, request):
    program = ctypes.c_void_p()
    nvrtc.nvrtcCreateProgram(
        ctypes.byref(program), request["text"].encode(), request["name"].encode(), 0, None, None
    )
    options = [f"--gpu-architecture={request['architecture']}", "--std=c++17", "--ptxas-options=-v"]
    options += [f"--define-macro={name}={value}" for name, value in request["defines"]]
    array = (ctypes.c_char_p * len(options))(*[option.encode() for option in options])
    code = nvrtc.nvrtcCompileProgram(program, len(options), array)
    size = ctypes.c_size_t()
    nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    log = ctypes.create_string_buffer(size.value)
    nvrtc.nvrtcGetProgramLog(program, log)
    nvrtc.nvrtcDestroyProgram(ctypes.byref(program))
    return code, log.value.decode(errors="replace")


def kernels(log):
    found = {}
    for part in log.split("Compiling entry function '")[1:]:
        entry = part.split("'")[0]
        spilled = sum(int(bytes_) for bytes_ in re.findall(r"(\d+) bytes spill", part))
        shared = re.search(r"(\d+) bytes smem", part)
        found[entry] = {
            "registers": int(re.search(r"Used (\d+) registers", part).group(1)),
            "spilled": spilled,
            "shared": int(shared.group(1)) if shared else 0,
        }
    return found


nvrtc = library(sys.argv[1])
for line in sys.stdin:
    request = json.loads(line)
    code, log = compiled(nvrtc, request)
    answer = {
        "name": request["name"],
        "architecture": request["architecture"],
        "error": None if code == 0 else log,
        "kernels": kernels(log),
    }
    print(json.dumps(answer), flush=True)
