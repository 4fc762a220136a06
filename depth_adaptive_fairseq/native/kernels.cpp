// What kernels.py calls. All arrays are contiguous and row-major; numbers are float32 and int64 unless their type says otherwise.

#include <algorithm>
#include <functional>

#include "best_tokens.h"
#include "block.h"
#include "int8_linear.h"
#include "linear.h"

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

void set_threads(int32_t threads) { thread_count = threads; }

void* linear_new(const float* weight, const float* bias, int64_t outputs, int64_t inputs, int32_t int8) {
    if (int8) return static_cast<Linear*>(new Int8Linear(weight, bias, outputs, inputs));
    return static_cast<Linear*>(new FloatLinear(weight, bias, outputs, inputs));
}

void linear_delete(void* handle) { delete static_cast<Linear*>(handle); }

void linear_apply(const void* handle, const float* x, int64_t rows, float* y) { linear(handle).apply(x, rows, y, Then::assign); }

void block_run(const BlockLayers* layers, BlockState* state, float* hidden) { Block(*layers, *state).run(hidden); }

void best_tokens_of_rows(float* logits, int64_t rows, int64_t vocabulary, const int64_t* suppressed, int64_t num_suppressed,
                         int64_t penalized, float penalty, int64_t wanted, float* scores, int64_t* tokens) {
#pragma omp parallel for num_threads(thread_count) schedule(static) if (thread_count > 1)
    for (int64_t row = 0; row < rows; ++row)
        best_tokens(logits + row * vocabulary, vocabulary, suppressed, num_suppressed, penalized, penalty, wanted,
                    scores + row * wanted, tokens + row * wanted);
}
}
