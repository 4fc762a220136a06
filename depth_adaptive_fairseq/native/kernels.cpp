// What kernels.py calls. All arrays are contiguous and row-major; numbers are float32 and int64 unless their type says otherwise.

#include <exception>

#include "encoder_block.h"
#include "float_linear.h"
#include "int8_linear.h"
#include "search_step.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace {

// Whether the processor has AMX for int8 and bfloat16, and the system lets this process use it, which Linux wants to be asked for.
bool may_use_tiles() {
#if defined(__x86_64__) && defined(__linux__)
    unsigned a, b, c, d;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return false;
    constexpr unsigned BFLOAT16 = 1u << 22, TILES = 1u << 24, INT8 = 1u << 25;
    if ((d & BFLOAT16) == 0 || (d & TILES) == 0 || (d & INT8) == 0) return false;
    constexpr long REQUEST_PERMISSION = 0x1023, TILE_DATA = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
    return syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
#else
    return false;
#endif
}

template <class Function>
bool enough_memory(const Function& function) {
    try {
        function();
        return true;
    } catch (const std::exception&) {  // std::bad_alloc, or std::length_error where the size itself is absurd
        return false;
    }
}

}  // namespace

extern "C" {

// The last of kernels.py's INSTRUCTION_SETS that the library is compiled for and that this processor has.
int32_t instruction_set() {
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return 0;
    const bool wide = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
                      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni");
    return !wide ? 1 : !may_use_tiles() ? 2 : 3;
#else
    return 0;
#endif
}

// What the library was compiled from (see setup.py): another version of these sources is not called.
int64_t sources() { return SOURCES; }

void set_threads(int32_t threads) { thread_count = threads; }

// Null where there is no memory left; the functions below return whether there was enough.
void* linear_new(const float* weight, const float* bias, int64_t outputs, int64_t inputs, int32_t int8) {
    Linear* made = nullptr;
    enough_memory([&] {
        if (int8)
            made = new Int8Linear(weight, bias, outputs, inputs);
        else
            made = new FloatLinear(weight, bias, outputs, inputs);
    });
    return made;
}

void linear_delete(void* handle) { delete static_cast<Linear*>(handle); }

bool linear_apply(const void* handle, const float* x, int64_t rows, float* y) {
    return enough_memory([&] { linear(handle).apply(x, rows, y, Then::assign); });
}

bool decoder_block_run(const BlockLayers* layers, BlockState* state, float* hidden) {
    return enough_memory([&] { DecoderBlock(*layers, *state, hidden).run(); });
}

bool encoder_block_run(const BlockLayers* layers, float* hidden, int64_t sentences, int64_t length, const uint8_t* real) {
    return enough_memory([&] { EncoderBlock(*layers, hidden, sentences, length, real).run(); });
}

bool choose_of_logits(float* logits, int64_t rows, int64_t vocabulary, const Choice* choice, float* scores, int64_t* tokens) {
    return enough_memory([&] { choose(logits, rows, vocabulary, *choice, scores, tokens); });
}

bool choose_of_states(const Classifier* classifier, const float* hidden, int64_t rows, const Choice* choice, float* scores,
                      int64_t* tokens) {
    return enough_memory([&] { classify(*classifier, hidden, rows, *choice, scores, tokens); });
}

bool search_step_run(const SearchStep* step, Hypotheses* hypotheses, const int64_t* newest, int64_t rows, const Choice* choice,
                     float* scores, int64_t* tokens, int64_t* exits) {
    return enough_memory([&] { Step(*step, *hypotheses).run(newest, rows, *choice, scores, tokens, exits); });
}
}
