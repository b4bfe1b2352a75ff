// Arithmetic on vectors of L numbers.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <utility>

#if defined(__SSE__)
#include <xmmintrin.h>
#endif

#define INLINE inline __attribute__((always_inline))

namespace uncv {

using Index = int64_t;

// Width of the machine's vectors; setup.py compiles each source once for each.
#if defined(__AVX512F__)
constexpr int MOST_FLOATS = 16;
#elif defined(__AVX2__)
constexpr int MOST_FLOATS = 8;
#else
constexpr int MOST_FLOATS = 4;
#endif
constexpr int MOST_DOUBLES = MOST_FLOATS / 2;

template <class T> struct Constants;
template <> struct Constants<float> {
  using Bits = int32_t;
  static constexpr float lowest = -80;  // e^lowest is nothing beside the sums, and not denormal
  static constexpr int mantissa = 23, bias = 127, exp_order = 7, sin_order = 9;
};
template <> struct Constants<double> {
  using Bits = int64_t;
  static constexpr double lowest = -700;
  static constexpr int mantissa = 52, bias = 1023, exp_order = 12, sin_order = 17;
};

constexpr double factorial(int n) { return n < 2 ? 1.0 : n * factorial(n - 1); }

// Denormal numbers are zero while this exists: products of small slopes or of far Gaussians are
// many of them, each a hundred times slower than others.
class TinyIsZero {
#if defined(__SSE__)
  const unsigned before = _mm_getcsr();

 public:
  TinyIsZero() { _mm_setcsr(before | 0x8040); }
  ~TinyIsZero() { _mm_setcsr(before); }
#endif
};

// Functions of vectors of L numbers.
template <class T, int L> struct Maths {
  using C = Constants<T>;
  typedef T V __attribute__((vector_size(L * sizeof(T))));
  typedef typename C::Bits Bits __attribute__((vector_size(L * sizeof(T))));
  typedef int32_t Whole __attribute__((vector_size(L * sizeof(int32_t))));

  typedef T Anywhere __attribute__((vector_size(L * sizeof(T)), aligned(sizeof(T))));

  static INLINE V load(const T *from) { return *reinterpret_cast<const Anywhere *>(from); }
  static INLINE void store(T *to, V v) { *reinterpret_cast<Anywhere *>(to) = v; }
  static constexpr Index padded(Index n) { return (n + L - 1) / L * L; }

#if defined(__clang__)
#define SHUFFLE(v, ...) __builtin_shufflevector(v, v, __VA_ARGS__)
#define SHUFFLE2(v, w, ...) __builtin_shufflevector(v, w, __VA_ARGS__)
#else
#define SHUFFLE(v, ...) __builtin_shuffle(v, Bits{__VA_ARGS__})
#define SHUFFLE2(v, w, ...) __builtin_shuffle(v, w, Bits{__VA_ARGS__})
#endif
  static INLINE T sum(V v) {
    if constexpr (L == 16) v += SHUFFLE(v, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7);
    if constexpr (L == 16) v += SHUFFLE(v, 4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11);
    if constexpr (L == 16) v += SHUFFLE(v, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13);
    if constexpr (L == 8) v += SHUFFLE(v, 4, 5, 6, 7, 0, 1, 2, 3);
    if constexpr (L == 8) v += SHUFFLE(v, 2, 3, 0, 1, 6, 7, 4, 5);
    if constexpr (L == 4) v += SHUFFLE(v, 2, 3, 0, 1);
    return v[0] + v[1];
  }

  // Sums of L vectors, one in each place; the vectors are used up.
  template <int half = L / 2> static INLINE V sums(V *v) {
    for (int k = 0; k < half; ++k)
      v[k] = folded<half>(v[k], v[k + half], std::make_integer_sequence<int, L>{});
    if constexpr (half > 1) return sums<half / 2>(v);
    else return v[0];
  }

  // v + its halves exchanged where a place's bit is clear, the same of w where it is set.
  template <int bit, int... l>
  static INLINE V folded(V v, V w, std::integer_sequence<int, l...>) {
    return SHUFFLE2(v, w, (l & bit ? L + l : l)...) +
           SHUFFLE2(v, w, (l & bit ? L + (l ^ bit) : l ^ bit)...);
  }

  static INLINE V root(V x) {
    T in[L], out[L];
    store(in, x);
    for (int l = 0; l < L; ++l) out[l] = std::sqrt(in[l]);
    return load(out);
  }

  // Sum of (sign x)^n / k! over k = first + n stride <= last.
  template <int first, int stride, int last, int sign> static INLINE V series(V x) {
    constexpr T factor = T(1.0 / factorial(first));
    if constexpr (first + stride > last) return V{} + factor;
    else return factor + T(sign) * x * series<first + stride, stride, last, sign>(x);
  }

  // e^x for x <= 0, to some |x| units in the last place: 2^n e^r with |r| <= ln(2)/2.
  static INLINE V exponential(V x) {
    constexpr T ln2 = T(0.693147180559945309417);
    x = x < C::lowest ? V{} + C::lowest : x;
    const Whole n = __builtin_convertvector(x * (1 / ln2) - T(0.5), Whole);
    const V r = x - __builtin_convertvector(n, V) * ln2;
    const Bits power = (__builtin_convertvector(n, Bits) + C::bias) << C::mantissa;
    V scale;
    std::memcpy(&scale, &power, sizeof scale);
    return scale * series<0, 1, C::exp_order, 1>(r);
  }

  // Sine and cosine for |x| <= pi/4.
  static INLINE void sine_cosine(V x, V &sine, V &cosine) {
    sine = x * series<1, 2, C::sin_order, -1>(x * x);
    cosine = series<0, 2, C::sin_order - 1, -1>(x * x);
  }

  // x to the power of p - less, less being 0 or 1. ANI-1x has p = 32.
  static INLINE V to_power(V x, double p, int less) {
    if (p == 32) {
      const V x2 = x * x, x4 = x2 * x2, x8 = x4 * x4, x16 = x8 * x8;
      return less ? (x16 * x8) * (x4 * x2) * x : x16 * x16;
    }
    V result = V{} + T(1);
    if (p == std::floor(p) && p >= 1 && p < 4096) {
      for (int left = int(p) - less; left > 0; left >>= 1, x *= x)
        if (left & 1) result *= x;
    } else {
      for (int l = 0; l < L; ++l) result[l] = std::pow(x[l], T(p) - T(less));
    }
    return result;
  }
};

}  // namespace uncv
