// What kernels.py calls. All arrays are contiguous and row-major; numbers are float32 and int64 unless their type says otherwise.

#include <cstdio>
#include <exception>
#include <new>
#include <stdexcept>

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

enum Outcome : int32_t { DONE = 0, OUT_OF_MEMORY = 1, FAILED = 2 };

// What the last call of this thread that failed died of.
thread_local char failure[400];

template <class Function>
Outcome attempt(const Function& function) {
    const auto because = [](Outcome outcome, const char* reason) {
        std::snprintf(failure, sizeof failure, "%s", reason);
        return outcome;
    };
    try {
        function();
        return DONE;
    } catch (const std::bad_alloc& error) {
        return because(OUT_OF_MEMORY, error.what());
    } catch (const std::length_error& error) {  // the size itself is absurd
        return because(OUT_OF_MEMORY, error.what());
    } catch (const std::exception& error) {
        return because(FAILED, error.what());
    } catch (...) {
        return because(FAILED, "an unknown exception");
    }
}

// A call that works in a workspace, which belongs to it meanwhile.
template <class Function>
Outcome attempt_in(Workspace* workspace, const Function& function) {
    return attempt([&] {
        workspace->begin();
        function();
    });
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

// A line for each structure that kernels.py repeats (see layout.h).
const char* layouts() {
    static const std::string all = layouts_of<BlockLayers, Hypotheses, BlockState, Classifier, CandidateOptions, ExitRule, SearchStep>();
    return all.c_str();
}

const char* last_failure() { return failure; }

void set_threads(int32_t threads) { thread_count = threads; }

// All functions below that return a number return an Outcome.

int32_t workspace_new(Workspace** made) {
    return attempt([&] { *made = new Workspace; });
}

void workspace_delete(Workspace* workspace) { delete workspace; }

int64_t workspace_bytes(const Workspace* workspace) { return workspace->bytes; }

int32_t linear_new(Linear** made, const float* weight, const float* bias, int64_t outputs, int64_t inputs, int32_t int8) {
    return attempt([&] {
        if (int8)
            *made = new Int8Linear(weight, bias, outputs, inputs);
        else
            *made = new FloatLinear(weight, bias, outputs, inputs);
    });
}

void linear_delete(Linear* linear) { delete linear; }

int32_t linear_apply(Workspace* workspace, const Linear* linear, const float* x, int64_t rows, float* y) {
    return attempt_in(workspace, [&] { linear->apply(x, rows, y, Epilogue::store, *workspace); });
}

int32_t decoder_block_run(Workspace* workspace, const BlockLayers* layers, BlockState* state, float* hidden) {
    return attempt_in(workspace, [&] { DecoderBlock(*layers, *state, hidden, *workspace).run(); });
}

int32_t encoder_block_run(Workspace* workspace, const BlockLayers* layers, float* hidden, int64_t sentences, int64_t length,
                          const uint8_t* attended) {
    return attempt_in(workspace, [&] { EncoderBlock(*layers, hidden, sentences, length, attended, *workspace).run(); });
}

int32_t candidates_of_logits(Workspace* workspace, float* logits, int64_t rows, int64_t vocabulary, const CandidateOptions* options,
                             float* scores, int64_t* tokens) {
    return attempt_in(workspace,
                      [&] { find_candidates(logits, rows, vocabulary, *options, always, in_order, scores, tokens, *workspace); });
}

int32_t candidates_of_states(Workspace* workspace, const Classifier* classifier, const float* hidden, int64_t rows,
                             const CandidateOptions* options, float* scores, int64_t* tokens) {
    return attempt_in(workspace, [&] { classify(*classifier, hidden, rows, *options, always, in_order, scores, tokens, *workspace); });
}

int32_t search_step_run(Workspace* workspace, const SearchStep* step, Hypotheses* hypotheses, const int64_t* newest,
                        const int64_t* known_exits, int64_t rows, const CandidateOptions* options, float* scores, int64_t* tokens,
                        int64_t* exits) {
    return attempt_in(workspace, [&] {
        Step(*step, *hypotheses, *options, scores, tokens, exits, *workspace).run(newest, known_exits, rows);
    });
}
}
