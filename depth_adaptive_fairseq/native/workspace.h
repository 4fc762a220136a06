// The memory that the kernels work in. Nothing in it outlives a call, but the room is kept for the next one.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <new>
#include <vector>

#if defined(_OPENMP)
#include <omp.h>
#endif

namespace {

// Threads that a parallel loop may use, as many as PyTorch may.
std::atomic<int> thread_count{1};

// Room for numbers: as many as were ever wanted at once, and no more.
template <class Number>
class Buffer {
public:
    // held: to which the bytes of the room are added.
    explicit Buffer(int64_t& held) : held(held) {}
    ~Buffer() { release(); }
    Buffer(const Buffer&) = delete;
    Buffer& operator=(const Buffer&) = delete;

    // Room for `count` numbers, which may be anything; what was there before is lost where there was too little.
    //
    // Throws: std::bad_alloc.
    Number* room(int64_t count) {
        if (count > size) {
            release();
            if (count > MOST) throw std::bad_array_new_length();
            numbers = static_cast<Number*>(::operator new(count * sizeof(Number), ALIGNMENT));
            size = count;
            held += size * sizeof(Number);
        }
        return numbers;
    }

    // The room that there is.
    Number* data() const { return numbers; }

private:
    static constexpr std::align_val_t ALIGNMENT{64};  // a line of the cache
    static constexpr int64_t MOST = INT64_MAX / sizeof(Number);

    void release() {
        if (numbers != nullptr) ::operator delete(numbers, ALIGNMENT);
        held -= size * sizeof(Number);
        numbers = nullptr;
        size = 0;
    }

    int64_t& held;
    Number* numbers = nullptr;
    int64_t size = 0;
};

// What each thread of a parallel loop needs for itself. The room is made before the loop: inside nothing may be thrown.
struct ThreadSpace {
    explicit ThreadSpace(int64_t& held)
        : attention(held), keys(held), chunk_maxima(held), sorted_maxima(held), found(held) {}

    Buffer<float> attention;      // a head's softmax(query keys^T), (length)
    Buffer<const float*> keys;    // where each key is, (length)
    Buffer<float> chunk_maxima;   // (chunks of the vocabulary)
    Buffer<float> sorted_maxima;  // the same in another order
    Buffer<int32_t> found;        // tokens that may be among the best, (vocabulary)
};

// The memory of one caller at a time: every Python thread has its own.
class Workspace {
public:
    int64_t bytes = 0;  // held by all buffers

    // A step of the search.
    Buffer<float> hidden{bytes};          // h^n of the rows that still run, (rows, width)
    Buffer<float> leaving_states{bytes};  // of those that leave
    Buffer<int64_t> running{bytes};       // their numbers, (rows)
    Buffer<int64_t> leaving{bytes};       // places in `running`
    Buffer<uint8_t> leaves{bytes};        // whether a running row leaves, (rows)
    // Exit decisions.
    Buffer<float> previous_states{bytes};    // h^{n-1} of the rows that still run, (rows, width)
    Buffer<int64_t> predicted_tokens{bytes};  // by the last exit, of all rows
    Buffer<int64_t> agreeing_exits{bytes};    // exits in a row that predicted it, of all rows
    Buffer<float> predicted_exits{bytes};     // behind block 1, of all rows
    // A block.
    Buffer<int64_t> entries{bytes};  // of which keys and values are made now, (entries)
    Buffer<float> normed{bytes};     // (rows or entries, width)
    Buffer<float> projected{bytes};  // keys and values, (rows or entries, 2 width)
    Buffer<float> queries{bytes};    // (rows, width)
    Buffer<float> contexts{bytes};   // what the heads of attention found, (rows, width)
    Buffer<float> inner{bytes};      // of the feed-forward layers, (rows, inner width)
    // An exit classifier, and int8 layers.
    Buffer<float> logits{bytes};       // (rows, vocabulary)
    Buffer<uint8_t> quantized{bytes};  // inputs of an int8 layer, (rows, inputs)
    Buffer<float> row_scales{bytes};   // (rows)

    // Takes over the number of threads that is now asked for; at the beginning of every call.
    void begin() {
        threads = thread_count.load(std::memory_order_relaxed);
        while (static_cast<int>(spaces.size()) < threads) spaces.push_back(std::make_unique<ThreadSpace>(bytes));
    }

    // Make room in the space of each thread.
    template <class MakeRoom>
    void for_each_thread(const MakeRoom& make_room) {
        for (int thread = 0; thread < threads; ++thread) make_room(*spaces[thread]);
    }

    ThreadSpace& of_this_thread() const {
#if defined(_OPENMP)
        return *spaces[omp_get_thread_num()];
#else
        return *spaces[0];
#endif
    }

    // Whether so many numbers are worth waking threads up that do little more than read and write them; an estimate.
    bool worth_threads_to_move(int64_t numbers) const { return threads > 1 && numbers > 30000; }

    int threads = 1;

private:
    std::vector<std::unique_ptr<ThreadSpace>> spaces;
};

}  // namespace
