// Measures prefill and decode speed of llama.cpp through its C API.
//
//     llama_speed MODEL.gguf PRECISION THREADS PROMPT OUTPUT REPEATS
//
// Same protocol and the same CSV columns as the example `decoder_speed`: each repeat computes a prompt of PROMPT tokens
// in one batch, then OUTPUT decode steps of one sequence, with no sampling in either program.
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <string>
#include <vector>

#include "llama.h"

static double seconds(clockid_t id) {
    timespec t;
    clock_gettime(id, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

struct Timer {
    double wall = seconds(CLOCK_MONOTONIC), cpu = seconds(CLOCK_PROCESS_CPUTIME_ID);
    double wall_s() const { return seconds(CLOCK_MONOTONIC) - wall; }
    double cpu_s() const { return seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu; }
};

int main(int argc, char** argv) {
    if (argc != 7) return 2;
    const int threads = atoi(argv[3]), prompt = atoi(argv[4]), output = atoi(argv[5]), repeats = atoi(argv[6]);
    llama_log_set([](ggml_log_level, const char*, void*) {}, nullptr);
    llama_backend_init();
    llama_model* model = llama_model_load_from_file(argv[1], llama_model_default_params());
    if (!model) return 1;
    llama_context_params params = llama_context_default_params();
    params.n_ctx = prompt + output + 64;
    params.n_batch = params.n_ubatch = 512;
    params.n_threads = params.n_threads_batch = threads;
    llama_context* context = llama_init_from_model(model, params);
    if (!context) return 1;
    fprintf(stderr, "%s\n", llama_print_system_info());
    printf("isa,threads,precision,prompt,batch,prefill_tokens_per_s,prefill_tokens_per_cpu_s,decode_tokens_per_s,"
           "decode_tokens_per_cpu_s\n");
    std::vector<llama_token> tokens(prompt);
    for (int i = 0; i < prompt; i++) tokens[i] = (i * 31 + 7) % 256;
    for (int r = -1; r < repeats; r++) {  // the first one warms up: pages of the file, buffers
        llama_memory_clear(llama_get_memory(context), true);
        Timer prefill;
        if (llama_decode(context, llama_batch_get_one(tokens.data(), prompt))) return 1;
        llama_synchronize(context);
        const double prefill_wall = prefill.wall_s(), prefill_cpu = prefill.cpu_s();
        Timer decode;
        for (int i = 0; i < output; i++) {
            llama_token token = (i * 13 + 5) % 256;
            if (llama_decode(context, llama_batch_get_one(&token, 1))) return 1;
            llama_synchronize(context);
        }
        if (r >= 0)
            printf("%s,%d,%s,%d,1,%.1f,%.1f,%.2f,%.2f\n", getenv("LLAMA_BUILD") ? getenv("LLAMA_BUILD") : "llama.cpp",
                   threads, argv[2], prompt, prompt / prefill_wall, prompt / prefill_cpu, output / decode.wall_s(),
                   output / decode.cpu_s());
        fflush(stdout);
    }
}
