// What kernels.py calls. All arrays are contiguous and row-major; numbers are float32 and int64 unless their type says otherwise.

#include "encoder_block.h"
#include "int8_linear.h"
#include "search_step.h"

extern "C" {

// The widest instruction set that the library is compiled for and that this processor has: 0 baseline, 1 AVX2, 2 AVX-512 with VNNI.
int32_t instruction_set() {
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return 0;
    const bool wide = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
                      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni");
    return wide ? 2 : 1;
#else
    return 0;
#endif
}

// Changes whenever a structure does: what was compiled before an update of kernels.py is not called.
int64_t layout() {
    const int64_t sizes[] = {sizeof(BlockLayers), sizeof(Hypotheses), sizeof(BlockState), sizeof(Classifier), sizeof(Choice), sizeof(SearchStep)};
    int64_t sum = 0;
    for (const int64_t size : sizes) sum = sum * 1000 + size;
    return sum;
}

void set_threads(int32_t threads) { thread_count = threads; }

void* linear_new(const float* weight, const float* bias, int64_t outputs, int64_t inputs, int32_t int8) {
    if (int8) return static_cast<Linear*>(new Int8Linear(weight, bias, outputs, inputs));
    return static_cast<Linear*>(new FloatLinear(weight, bias, outputs, inputs));
}

void linear_delete(void* handle) { delete static_cast<Linear*>(handle); }

void linear_apply(const void* handle, const float* x, int64_t rows, float* y) { linear(handle).apply(x, rows, y, Then::assign); }

void decoder_block_run(const BlockLayers* layers, BlockState* state, float* hidden) { DecoderBlock(*layers, *state, hidden).run(); }

void encoder_block_run(const BlockLayers* layers, float* hidden, int64_t sentences, int64_t length, const uint8_t* real) {
    EncoderBlock(*layers, hidden, sentences, length, real).run();
}

void choose_of_logits(float* logits, int64_t rows, int64_t vocabulary, const Choice* choice, float* scores, int64_t* tokens) {
    choose(logits, rows, vocabulary, *choice, scores, tokens);
}

void choose_of_states(const Classifier* classifier, const float* hidden, int64_t rows, const Choice* choice, float* scores,
                      int64_t* tokens) {
    classify(*classifier, hidden, rows, *choice, scores, tokens);
}

void search_step_run(const SearchStep* step, Hypotheses* hypotheses, const int64_t* newest, int64_t rows, const Choice* choice,
                     float* scores, int64_t* tokens, int64_t* exits) {
    Step(*step, *hypotheses).run(newest, rows, *choice, scores, tokens, exits);
}
}
