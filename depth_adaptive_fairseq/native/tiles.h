// The matrix unit of processors with AMX: int8 products of tiles of 16 rows by 64 bytes.
//
// Rows to be multiplied lie tile behind tile: 64 bytes of each of 16 rows, then their next 64 bytes, and so on, then the next 16
// rows. A panel's weights lie as the vector instructions read them: 4 inputs of each of 32 outputs, then the next 4, so that two
// tiles are side by side.
#pragma once

#if defined(__AMX_TILE__)

#include <immintrin.h>

#include "simd.h"

namespace {

constexpr int64_t TILE = 16;        // rows of a tile, and sums in a row
constexpr int64_t TILE_WIDTH = 64;  // bytes in a row
constexpr int64_t TILE_BYTES = TILE * TILE_WIDTH;
constexpr int64_t PAIR_WIDTH = 2 * TILE_WIDTH;  // of two tiles side by side

inline int64_t parts_of(int64_t count, int64_t size) { return (count + size - 1) / size; }

// Where the 64 bytes of a row begin that are number `block`, of `blocks`.
inline int64_t place_in_tiles(int64_t row, int64_t block, int64_t blocks) {
    return ((row / TILE) * blocks + block) * TILE_BYTES + row % TILE * TILE_WIDTH;
}

// While it lives, all eight tiles of this thread are full ones. Other libraries trust in what they have configured, so that is
// put back.
class Tiles {
public:
    Tiles() {
        _tile_storeconfig(before);
        alignas(64) Configuration all = {};
        all.palette = 1;
        for (int tile = 0; tile < 8; ++tile) {
            all.rows[tile] = TILE;
            all.row_bytes[tile] = TILE_WIDTH;
        }
        asm volatile("" : : "r"(&all) : "memory");  // to g++ the next line reads but a part of it
        _tile_loadconfig(&all);
    }
    ~Tiles() { _tile_loadconfig(before); }
    Tiles(const Tiles&) = delete;
    Tiles& operator=(const Tiles&) = delete;

private:
    struct Configuration {  // as the processor wants it
        uint8_t palette, start_row, reserved[14];
        uint16_t row_bytes[16];
        uint8_t rows[16];
    };
    alignas(64) uint8_t before[sizeof(Configuration)];
};

// Sums of one or two tiles of rows by two of outputs: in tiles 0 to 3, rows in 4 and 5, weights in 6 and 7.
template <bool TWO>
inline void clear_sums() {
    _tile_zero(0);
    _tile_zero(1);
    if (TWO) {
        _tile_zero(2);
        _tile_zero(3);
    }
}

// sums: (16 or 32, 32).
template <bool TWO>
inline void store_sums(int32_t* sums) {
    char* to = reinterpret_cast<char*>(sums);
    _tile_stored(0, to, PAIR_WIDTH);
    _tile_stored(1, to + TILE_WIDTH, PAIR_WIDTH);
    if (TWO) {
        _tile_stored(2, to + TILE * PAIR_WIDTH, PAIR_WIDTH);
        _tile_stored(3, to + TILE * PAIR_WIDTH + TILE_WIDTH, PAIR_WIDTH);
    }
}

inline void load_weights(const int8_t* weights) {
    _tile_loadd(6, weights, PAIR_WIDTH);
    _tile_loadd(7, weights + TILE_WIDTH, PAIR_WIDTH);
}

// `second`: bytes from the first tile of rows to the second.
template <bool TWO>
inline void load_rows(const uint8_t* rows, int64_t second) {
    _tile_loadd(4, rows, TILE_WIDTH);
    if (TWO) _tile_loadd(5, rows + second, TILE_WIDTH);
}

template <bool TWO>
inline void multiply_tiles() {
    _tile_dpbusd(0, 4, 6);
    _tile_dpbusd(1, 4, 7);
    if (TWO) {
        _tile_dpbusd(2, 5, 6);
        _tile_dpbusd(3, 5, 7);
    }
}

}  // namespace

#endif
