// Vectors of the instruction set that this copy of the library is compiled for (see setup.py).
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace {

#if defined(__AVX512F__)
constexpr int LANES = 16;
constexpr int TILE_ROWS = 14;  // 14 x 2 sums, 2 weights and an input: 31 of 32 registers
#elif defined(__AVX2__)
constexpr int LANES = 8;
constexpr int TILE_ROWS = 6;  // 6 x 2 sums, 2 weights and an input: 15 of 16 registers
#else
constexpr int LANES = 4;
constexpr int TILE_ROWS = 6;
#endif

typedef float Floats __attribute__((vector_size(LANES * 4)));
typedef int32_t Ints __attribute__((vector_size(LANES * 4)));

constexpr float SMALLEST_EXPONENT = -87.0f;

template <class Vector, class Scalar>
inline Vector load(const Scalar* from) {
    Vector vector;
    std::memcpy(&vector, from, sizeof vector);
    return vector;
}

template <class Vector, class Scalar>
inline void store(Scalar* to, Vector vector) {
    std::memcpy(to, &vector, sizeof vector);
}

// Cephes' expf (netlib.org/cephes, single/expf.c), in a form that compilers vectorise: within two units in the last place. Below
// -87 it stays at exp(-87), about 1e-38; of what is not a number it is not a number.
inline float cephes_expf(float argument) {
    const float x = argument > SMALLEST_EXPONENT ? argument : SMALLEST_EXPONENT;  // conversions to integers need a number
    const float n = std::nearbyintf(x * 1.44269504f);
    const float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;  // ln 2 in two parts
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    int32_t bits;
    std::memcpy(&bits, &p, sizeof bits);
    bits += static_cast<int32_t>(n) * (1 << 23);
    std::memcpy(&p, &bits, sizeof p);
    return argument == argument ? p : argument;
}

}  // namespace
