// Atomic environment vectors and products with their Jacobian J, for pair vectors on the CPU.
//
// Equations: Smith, Isayev, Roitberg, Chem. Sci. 8, 3192 (2017), as in aev.py, whose numbers these
// are. One call goes over the atoms once; a centre's angles are formed from its near neighbours on
// the fly, so nothing grows with the number of triples. Layout of the loops: geometry, exponentials
// and switches run over pairs or triples (blocks of 16, which compilers vectorise); sums over the
// Gaussians of a pair or the angles of a triple use explicit vectors of 8.
//
// No flag assumes finite numbers: NaN in a vector comes out as NaN.

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <system_error>
#include <thread>
#include <vector>

// glibc has vector versions of these three; the attribute tells GCC (names and ABI are fixed).
#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__)
#define VECTOR_VERSION __attribute__((simd("notinbranch")))
extern "C" {
double exp(double) noexcept VECTOR_VERSION;
float expf(float) noexcept VECTOR_VERSION;
double cos(double) noexcept VECTOR_VERSION;
float cosf(float) noexcept VECTOR_VERSION;
double sin(double) noexcept VECTOR_VERSION;
float sinf(float) noexcept VECTOR_VERSION;
}
#endif

#define INLINE inline __attribute__((always_inline))

// Settings of the descriptor; kernel.py fills the same structure.
struct UncvAev {
  int64_t species, radial, shells, angles;
  double radial_cutoff, angular_cutoff, radial_eta, angular_eta, zeta;
  const double *radial_shifts, *angular_shifts, *angle_cos, *angle_sin;
  const int64_t *species_pair;
};

namespace {

using Index = int64_t;

enum Task { DESCRIBE = 0, PULL_BACK = 1, PUSH_FORWARD = 2 };

struct Call {
  const UncvAev &aev;
  int task;
  bool is_double;
  Index atoms, pairs, count;  // count: number of cotangents or tangents
  const Index *begin, *other;
  const void *vectors, *in;
  void *out;
};

constexpr Index LANES = 8;    // of an explicit vector
constexpr Index BLOCK = 16;   // trip count of an inner loop over pairs or triples
constexpr Index CHUNK = 128;  // triples worked on at once
constexpr Index GROUP = 512;  // pairs worked on at once, unless one atom has more

constexpr Index padded(Index n, Index to) { return (n + to - 1) / to * to; }

template <class T> struct Vector;
template <> struct Vector<float> {
  typedef float type __attribute__((vector_size(LANES * sizeof(float))));
  typedef int32_t order __attribute__((vector_size(LANES * sizeof(float))));
  static constexpr float lowest_exponent = -80.0f;
};
template <> struct Vector<double> {
  typedef double type __attribute__((vector_size(LANES * sizeof(double))));
  typedef int64_t order __attribute__((vector_size(LANES * sizeof(double))));
  static constexpr double lowest_exponent = -700.0;
};

INLINE float exponential(float x) { return expf(x); }
INLINE double exponential(double x) { return exp(x); }
INLINE float cosine_of(float x) { return cosf(x); }
INLINE double cosine_of(double x) { return cos(x); }
INLINE float sine_of(float x) { return sinf(x); }
INLINE double sine_of(double x) { return sin(x); }
INLINE float root(float x) { return __builtin_sqrtf(x); }
INLINE double root(double x) { return __builtin_sqrt(x); }

// Everything one thread does for the atoms it was given.
template <class T, int task> class Worker {
  using V = typename Vector<T>::type;
  using Order = typename Vector<T>::order;

  const Call &call;
  const UncvAev &aev;
  const T *vectors, *in;
  T *out;
  Index width, row_width;       // of a descriptor, and of one whose blocks are padded to vectors
  Index radial_lanes, angle_lanes;  // padded numbers
  Index power;                  // zeta as a whole number, or -1
  std::unique_ptr<T[]> memory;
  std::unique_ptr<int32_t[]> near;
  // Constants
  T *radial_shift, *shell_shift, *cos_shift, *sin_shift;
  // Of the pairs of a group
  Index table;
  T *ux, *uy, *uz, *distance, *inverse, *wide, *wide_slope, *close, *close_slope, *bells;
  // Of the triples of a chunk
  T *cosine, *sine, *mean, *closeness, *shell, *angle, *angle_slope, *scalar, *rows;
  int32_t one[CHUNK], two[CHUNK];
  Index slot[CHUNK];

 public:
  INLINE Worker(const Call &c, Index first, Index last)
      : call(c), aev(c.aev), vectors(static_cast<const T *>(c.vectors)),
        in(static_cast<const T *>(c.in)), out(static_cast<T *>(c.out)) {
    const Index kinds = aev.species * (aev.species + 1) / 2;
    width = aev.species * aev.radial + kinds * aev.shells * aev.angles;
    radial_lanes = padded(aev.radial, LANES);
    angle_lanes = padded(aev.angles, LANES);
    row_width = aev.species * radial_lanes + kinds * aev.shells * angle_lanes;
    power = aev.zeta == std::floor(aev.zeta) && aev.zeta >= 1 && aev.zeta < 4096 ? Index(aev.zeta) : -1;
    allocate(first, last);
  }

  INLINE void run(Index first, Index last) {
    while (first < last) {
      Index end = first + 1;
      while (end < last && call.begin[end + 1] - call.begin[first] <= GROUP) ++end;
      const Index start = call.begin[first], number = call.begin[end] - start;
      pair_table(start, number);
      for (Index atom = first; atom < end; ++atom) {
        open_rows(atom);
        for (Index p = call.begin[atom] - start; p < call.begin[atom + 1] - start; ++p)
          radial(p, start + p);
        angular(call.begin[atom] - start, call.begin[atom + 1] - start, start);
        close_rows(atom);
      }
      first = end;
    }
  }

 private:
  INLINE void allocate(Index first, Index last) {
    Index most = GROUP;
    for (Index atom = first; atom < last; ++atom)
      most = std::max(most, call.begin[atom + 1] - call.begin[atom]);
    table = padded(most + 1, BLOCK);  // the last is a dummy, for triples that fill a block up
    struct Part { T **at; Index size; };
    const Index vectorised = CHUNK * angle_lanes, per_shell = CHUNK * aev.shells;
    const Part parts[] = {
        {&radial_shift, radial_lanes}, {&shell_shift, padded(aev.shells, LANES)},
        {&cos_shift, angle_lanes}, {&sin_shift, angle_lanes},
        {&ux, table}, {&uy, table}, {&uz, table}, {&distance, table}, {&inverse, table},
        {&wide, table}, {&wide_slope, table}, {&close, table}, {&close_slope, table},
        {&bells, table * radial_lanes},
        {&cosine, CHUNK}, {&sine, CHUNK}, {&mean, CHUNK}, {&closeness, CHUNK},
        {&shell, per_shell}, {&angle, vectorised}, {&angle_slope, vectorised},
        {&scalar, 4 * CHUNK}, {&rows, padded(call.count * row_width, LANES)}};
    Index total = 0;
    for (const Part &part : parts) total += part.size;
    memory.reset(new T[total]);
    near.reset(new int32_t[table]);
    T *free = memory.get();
    for (const Part &part : parts) { *part.at = free; free += part.size; }
    fill(radial_shift, aev.radial_shifts, aev.radial, radial_lanes);
    fill(shell_shift, aev.angular_shifts, aev.shells, padded(aev.shells, LANES));
    fill(cos_shift, aev.angle_cos, aev.angles, angle_lanes);
    fill(sin_shift, aev.angle_sin, aev.angles, angle_lanes);
  }

  static INLINE void fill(T *to, const double *from, Index n, Index size) {
    for (Index i = 0; i < size; ++i) to[i] = i < n ? T(from[i]) : T(0);
  }

  static INLINE V load(const T *from) { V v; std::memcpy(&v, from, sizeof v); return v; }
  static INLINE void store(T *to, V v) { std::memcpy(to, &v, sizeof v); }

#if defined(__clang__)
#define SHUFFLED(v, a, b, c, d, e, f, g, h) __builtin_shufflevector(v, v, a, b, c, d, e, f, g, h)
#else
#define SHUFFLED(v, ...) __builtin_shuffle(v, Order{__VA_ARGS__})
#endif
  static INLINE T sum(V v) {
    v += SHUFFLED(v, 4, 5, 6, 7, 0, 1, 2, 3);
    v += SHUFFLED(v, 2, 3, 0, 1, 6, 7, 4, 5);
    return v[0] + v[1];
  }

  // x to the power of zeta - less.
  INLINE V sharpen(V x, int less) const {
    if (power < 0) {
      V result;
      for (Index l = 0; l < LANES; ++l) result[l] = T(std::pow(double(x[l]), aev.zeta - less));
      return result;
    }
    V result = x - x + T(1);
    for (Index left = power - less; left > 0; left >>= 1, x *= x)
      if (left & 1) result *= x;
    return result;
  }

  // Distances, directions, switches and Gaussians of the pairs of a group.
  INLINE void pair_table(Index start, Index number) {
    const Index all = padded(number + 1, BLOCK), last = number;
    for (Index p = 0; p < number; ++p) {
      const T *v = vectors + 3 * (start + p);
      ux[p] = v[0]; uy[p] = v[1]; uz[p] = v[2];
    }
    for (Index p = last; p < all; ++p) { ux[p] = T(1); uy[p] = uz[p] = T(0); }
    const T pi = T(M_PI), far = T(aev.radial_cutoff), limit = T(aev.angular_cutoff);
    for (Index b = 0; b < all; b += BLOCK)
#pragma GCC ivdep
      for (Index p = b; p < b + BLOCK; ++p) {
        const T d = root(ux[p] * ux[p] + uy[p] * uy[p] + uz[p] * uz[p]);
        const T over = T(1) / d;
        distance[p] = d; inverse[p] = over;
        ux[p] *= over; uy[p] *= over; uz[p] *= over;
      }
    switches(all, far, pi / far, wide, wide_slope);
    switches(all, limit, pi / limit, close, close_slope);
    gaussians(all);
  }

  INLINE void switches(Index all, T cutoff, T rate, T *value, T *slope) {
    for (Index b = 0; b < all; b += BLOCK)
#pragma GCC ivdep
      for (Index p = b; p < b + BLOCK; ++p) {
        const T d = distance[p] < cutoff ? distance[p] : cutoff;
        value[p] = d < cutoff ? T(0.5) * cosine_of(d * rate) + T(0.5) : T(0);
        if (task != DESCRIBE) slope[p] = d < cutoff ? T(-0.5) * rate * sine_of(d * rate) : T(0);
      }
  }

  // Radial terms of every pair, or their slopes.
  INLINE void gaussians(Index all) {
    const T eta = T(aev.radial_eta);
    for (Index p = 0; p < all; ++p)
      for (Index r = 0; r < radial_lanes; r += LANES) {
        const V offset = distance[p] - load(radial_shift + r);
        store(bells + p * radial_lanes + r, -eta * offset * offset);
      }
    exponentials(bells, all * radial_lanes);
    for (Index p = 0; p < all; ++p)
      for (Index r = 0; r < radial_lanes; r += LANES) {
        T *at = bells + p * radial_lanes + r;
        const V offset = distance[p] - load(radial_shift + r);
        const V factor = task == DESCRIBE
            ? V{} + wide[p] : wide_slope[p] - (T(2) * eta * wide[p]) * offset;
        store(at, T(0.25) * load(at) * factor);
      }
  }

  // In place; n is a multiple of BLOCK or LANES. Below the limit e^x is nothing beside the sums,
  // and the library's vector versions are slow.
  static INLINE void exponentials(T *__restrict x, Index n) {
    const T limit = Vector<T>::lowest_exponent;
    for (Index b = 0; b < n; b += LANES)
#pragma GCC ivdep
      for (Index i = b; i < b + LANES; ++i) x[i] = exponential(x[i] < limit ? limit : x[i]);
  }

  INLINE void radial(Index p, Index pair) {
    const T *values = bells + p * radial_lanes;
    const Index kind = call.other[pair] * radial_lanes;
    for (Index k = 0; k < call.count; ++k) {
      T *row = row_of(k) + kind;
      if (task == PULL_BACK) {
        V along{};
        for (Index r = 0; r < radial_lanes; r += LANES) along += load(row + r) * load(values + r);
        const T total = sum(along);
        T *to = out + 3 * (k * call.pairs + pair);
        to[0] = total * ux[p]; to[1] = total * uy[p]; to[2] = total * uz[p];
      } else {
        const T factor = task == DESCRIBE ? T(1) : stretch(k, p, pair);
        for (Index r = 0; r < radial_lanes; r += LANES)
          store(row + r, load(row + r) + factor * load(values + r));
      }
    }
  }

  // Change of a pair's distance with tangent k.
  INLINE T stretch(Index k, Index p, Index pair) const {
    const T *w = in + 3 * (k * call.pairs + pair);
    return w[0] * ux[p] + w[1] * uy[p] + w[2] * uz[p];
  }

  INLINE void angular(Index from, Index to, Index start) {
    int32_t number = 0;
    const T limit = T(aev.angular_cutoff);
    for (Index p = from; p < to; ++p) {
      near[number] = int32_t(p);
      number += !(distance[p] >= limit);
    }
    Index filled = 0;
    for (int32_t i = 0; i < number; ++i) {
      const Index *kinds = aev.species_pair + aev.species * call.other[start + near[i]];
      for (int32_t j = i + 1; j < number; ++j) {
        one[filled] = near[i];
        two[filled] = near[j];
        slot[filled] = kinds[call.other[start + near[j]]] * aev.shells * angle_lanes;
        if (++filled == CHUNK) { triples(filled, start); filled = 0; }
      }
    }
    if (filled) triples(filled, start);
  }

  INLINE void triples(Index number, Index start) {
    const Index all = padded(number, BLOCK);
    const int32_t dummy = int32_t(table - 1);
    (void)dummy;
    for (Index t = number; t < all; ++t) { one[t] = one[0]; two[t] = two[0]; }
    for (Index b = 0; b < all; b += BLOCK)
#pragma GCC ivdep
      for (Index t = b; t < b + BLOCK; ++t) {
        const int32_t i = one[t], j = two[t];
        const T c = T(0.95) * (ux[i] * ux[j] + uy[i] * uy[j] + uz[i] * uz[j]);
        cosine[t] = c;
        sine[t] = root(T(1) - c * c);
        mean[t] = T(0.5) * (distance[i] + distance[j]);
        closeness[t] = close[i] * close[j];
      }
    shells(all);
    angles(number);
    for (Index k = 0; k < call.count; ++k) {
      T *row = row_of(k) + aev.species * radial_lanes;
      if (task == DESCRIBE) describe(row, number);
      if (task == PULL_BACK) pull_back(row, number, all, k, start);
      if (task == PUSH_FORWARD) push_forward(row, number, all, k, start);
    }
  }

  INLINE void shells(Index all) {
    const T eta = T(aev.angular_eta);
    for (Index a = 0; a < aev.shells; ++a) {
      T *to = shell + a * CHUNK;
      const T shift = shell_shift[a];
      for (Index b = 0; b < all; b += BLOCK)
#pragma GCC ivdep
        for (Index t = b; t < b + BLOCK; ++t)
          to[t] = -eta * (mean[t] - shift) * (mean[t] - shift);
      exponentials(to, all);
    }
  }

  // Sharpened angles, and their derivatives with respect to the cosine. The factor 2 of the
  // descriptor is in here.
  INLINE void angles(Index number) {
    for (Index t = 0; t < number; ++t)
      for (Index z = 0; z < angle_lanes; z += LANES) {
        const V cz = load(cos_shift + z), sz = load(sin_shift + z);
        const V half = T(0.5) + T(0.5) * (cosine[t] * cz + sine[t] * sz);
        T *value = angle + t * angle_lanes + z;
        if (task == DESCRIBE) {
          store(value, T(2) * sharpen(half, 0));
          continue;
        }
        const V sharp = T(2) * sharpen(half, 1);
        store(value, sharp * half);
        store(angle_slope + t * angle_lanes + z,
              T(0.5 * aev.zeta) * sharp * (cz - (cosine[t] / sine[t]) * sz));
      }
  }

  INLINE void describe(T *row, Index number) {
    for (Index t = 0; t < number; ++t)
      for (Index a = 0; a < aev.shells; ++a) {
        const T factor = closeness[t] * shell[a * CHUNK + t];
        T *to = row + slot[t] + a * angle_lanes;
        for (Index z = 0; z < angle_lanes; z += LANES)
          store(to + z, load(to + z) + factor * load(angle + t * angle_lanes + z));
      }
  }

  INLINE void pull_back(const T *row, Index number, Index all, Index k, Index start) {
    T *turn = scalar, *inward = scalar + CHUNK, *level = scalar + 2 * CHUNK;
    const T eta = T(aev.angular_eta);
    for (Index t = 0; t < number; ++t) {
      V turns{}, inwards{}, levels{};
      for (Index z = 0; z < angle_lanes; z += LANES) {
        V plain{}, moved{};
        for (Index a = 0; a < aev.shells; ++a) {
          const T s = shell[a * CHUNK + t];
          const V g = s * load(row + slot[t] + a * angle_lanes + z);
          plain += g;
          moved += (eta * (shell_shift[a] - mean[t])) * g;
        }
        const V value = load(angle + t * angle_lanes + z);
        levels += plain * value;
        inwards += moved * value;
        turns += plain * load(angle_slope + t * angle_lanes + z);
      }
      turn[t] = sum(turns); inward[t] = sum(inwards); level[t] = sum(levels);
    }
    // The two vectors get along * their own direction + across * the other's.
    T *base = out + 3 * (k * call.pairs + start);
    for (Index t = 0; t < number; ++t) {
      const int32_t i = one[t], j = two[t];
      const T both = closeness[t] * turn[t], in_both = closeness[t] * inward[t];
      const T along1 = in_both + close_slope[i] * close[j] * level[t] - both * cosine[t] * inverse[i];
      const T along2 = in_both + close[i] * close_slope[j] * level[t] - both * cosine[t] * inverse[j];
      const T across1 = T(0.95) * both * inverse[i], across2 = T(0.95) * both * inverse[j];
      T *f1 = base + 3 * i, *f2 = base + 3 * j;
      f1[0] += along1 * ux[i] + across1 * ux[j];
      f1[1] += along1 * uy[i] + across1 * uy[j];
      f1[2] += along1 * uz[i] + across1 * uz[j];
      f2[0] += along2 * ux[j] + across2 * ux[i];
      f2[1] += along2 * uy[j] + across2 * uy[i];
      f2[2] += along2 * uz[j] + across2 * uz[i];
    }
    (void)all;
  }

  INLINE void push_forward(T *row, Index number, Index all, Index k, Index start) {
    const T eta = T(aev.angular_eta);
    const T *base = in + 3 * (k * call.pairs + start);
    for (Index t = 0; t < number; ++t) {
      const int32_t i = one[t], j = two[t];
      const T *w1 = base + 3 * i, *w2 = base + 3 * j;
      const T d1 = w1[0] * ux[i] + w1[1] * uy[i] + w1[2] * uz[i];
      const T d2 = w2[0] * ux[j] + w2[1] * uy[j] + w2[2] * uz[j];
      const T across1 = w1[0] * ux[j] + w1[1] * uy[j] + w1[2] * uz[j];
      const T across2 = w2[0] * ux[i] + w2[1] * uy[i] + w2[2] * uz[i];
      const T turn = closeness[t] * (inverse[i] * (T(0.95) * across1 - cosine[t] * d1) +
                                     inverse[j] * (T(0.95) * across2 - cosine[t] * d2));
      const T level = close_slope[i] * close[j] * d1 + close[i] * close_slope[j] * d2;
      const T both = closeness[t] * eta * (d1 + d2);
      for (Index z = 0; z < angle_lanes; z += LANES) {
        const V value = load(angle + t * angle_lanes + z);
        const V turned = turn * load(angle_slope + t * angle_lanes + z);
        for (Index a = 0; a < aev.shells; ++a) {
          const T s = shell[a * CHUNK + t];
          const T change = level + both * (shell_shift[a] - mean[t]);
          T *to = row + slot[t] + a * angle_lanes + z;
          store(to, load(to) + s * (change * value + turned));
        }
      }
    }
    (void)all;
  }

  // A row is the descriptor of one atom, or its cotangent: in place if its blocks are whole
  // vectors, otherwise in a padded copy.
  INLINE bool in_place() const { return row_width == width; }
  T *current;
  Index step;
  INLINE T *row_of(Index k) const { return current + k * step; }

  INLINE void open_rows(Index atom) {
    T *source = task == PULL_BACK ? const_cast<T *>(in) : out;
    current = in_place() ? source + atom * width : rows;
    step = in_place() ? call.atoms * width : row_width;
    for (Index k = 0; k < call.count; ++k) {
      if (task != PULL_BACK) std::memset(row_of(k), 0, row_width * sizeof(T));
      else if (!in_place()) copy_row(row_of(k), in + (k * call.atoms + atom) * width, true);
    }
  }

  INLINE void close_rows(Index atom) {
    if (task == PULL_BACK || in_place()) return;
    for (Index k = 0; k < call.count; ++k)
      copy_row(row_of(k), out + (k * call.atoms + atom) * width, false);
  }

  template <class Plain> INLINE void copy_row(T *row, Plain *plain, bool inward) {
    const Index kinds = aev.species * (aev.species + 1) / 2;
    if (inward) std::memset(row, 0, row_width * sizeof(T));
    for (Index s = 0; s < aev.species + kinds * aev.shells; ++s) {
      const bool is_radial = s < aev.species;
      const Index size = is_radial ? aev.radial : aev.angles;
      exchange(row, plain, size);
      row += is_radial ? radial_lanes : angle_lanes;
      plain += size;
    }
  }
  static INLINE void exchange(T *row, const T *plain, Index n) { std::memcpy(row, plain, n * sizeof(T)); }
  static INLINE void exchange(T *row, T *plain, Index n) { std::memcpy(plain, row, n * sizeof(T)); }
};

template <class T, int task> INLINE void work(const Call &call, Index first, Index last) {
  Worker<T, task> worker(call, first, last);
  worker.run(first, last);
}

template <class T> INLINE void choose(const Call &call, Index first, Index last) {
  if (call.task == DESCRIBE) work<T, DESCRIBE>(call, first, last);
  if (call.task == PULL_BACK) work<T, PULL_BACK>(call, first, last);
  if (call.task == PUSH_FORWARD) work<T, PUSH_FORWARD>(call, first, last);
}

// The same code for several instruction sets; which one runs is decided by the machine.
#define VARIANT(name, ...)                                                 \
  __VA_ARGS__ void name(const Call &call, Index first, Index last) {       \
    if (call.is_double) choose<double>(call, first, last);                 \
    else choose<float>(call, first, last);                                 \
  }

using Variant = void (*)(const Call &, Index, Index);

VARIANT(plain, )
#if defined(__x86_64__)
VARIANT(avx2, __attribute__((target("avx2,fma"))))
VARIANT(avx512, __attribute__((target("avx512f,avx512vl,avx512dq,avx512bw,fma,prefer-vector-width=512"))))
Variant best() {
  __builtin_cpu_init();
  if (getenv("UNCV_P")) return plain;
  if (getenv("UNCV_2")) return avx2;
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw"))
    return avx512;
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? avx2 : plain;
}
#else
Variant best() { return plain; }
#endif

bool valid(const Call &call) {
  if (call.begin[0] != 0 || call.begin[call.atoms] != call.pairs) return false;
  bool good = true;
  for (Index i = 0; i < call.atoms; ++i) good &= call.begin[i] <= call.begin[i + 1];
  for (Index p = 0; p < call.pairs; ++p)
    good &= uint64_t(call.other[p]) < uint64_t(call.aev.species);
  return good;
}

// Blocks of atoms with about equal numbers of pairs, one thread each; the last in this thread.
void share(const Call &call, Variant variant, Index threads, std::atomic<bool> &failed) {
  const auto guarded = [&](Index first, Index last) {
    try { variant(call, first, last); } catch (...) { failed = true; }
  };
  std::vector<std::thread> team;
  team.reserve(size_t(threads));
  Index first = 0;
  for (Index n = 1; n < threads; ++n) {
    Index last = first;
    while (last < call.atoms && call.begin[last] < call.pairs * n / threads) ++last;
    try { team.emplace_back(guarded, first, last); } catch (const std::system_error &) { break; }
    first = last;
  }
  guarded(first, call.atoms);
  for (std::thread &member : team) member.join();
}

}  // namespace

extern "C" {

// Raised whenever the meaning of a call changes; kernel.py compares.
int uncv_kernel_version() { return 1; }

// 0: done; 1: the pairs are not sorted by centre or a species is out of range; 2: out of memory.
int uncv_aev(const UncvAev *aev, int task, int is_double, int64_t atoms, int64_t pairs,
             int64_t count, const int64_t *begin, const int64_t *other, const void *vectors,
             const void *in, void *out, int64_t threads) {
  constexpr Index PAIRS_PER_THREAD = 2000;  // below, starting a thread costs more than it brings
  static const Variant variant = best();
  const Call call{*aev, task, is_double != 0, atoms, pairs, count, begin, other, vectors, in, out};
  if (!valid(call)) return 1;
  std::atomic<bool> failed{false};
  try {
    const Index useful = pairs / PAIRS_PER_THREAD + 1;
    share(call, variant, threads < useful ? threads : useful, failed);
  } catch (const std::bad_alloc &) {
    return 2;
  }
  return failed ? 2 : 0;
}
}
