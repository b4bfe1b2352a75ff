// Atomic environment vectors and products with their Jacobian J, for pair vectors on the CPU.
//
// Equations: Smith, Isayev, Roitberg, Chem. Sci. 8, 3192 (2017), as in aev.py, whose numbers these
// are. One call goes over the atoms once; a centre's angles are formed from its near neighbours on
// the fly, so nothing grows with the number of triples. The arithmetic is on vectors of L numbers:
// L pairs, L triples, L Gaussians of a pair or L angles of a triple.
//
// NaN in a pair vector comes out as NaN: no flag may assume finite numbers.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>

#include "descriptor.h"

namespace {

using namespace uncv;

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

constexpr Index CHUNK = 128;  // triples worked on at once
constexpr Index GROUP = 512;  // pairs worked on at once, unless one atom has more

// Everything one thread does for the atoms it was given.
template <class T, int L, int task> class Worker : Maths<T, L> {
  using M = Maths<T, L>;
  using V = typename M::V;
  using M::exponential;
  using M::load;
  using M::padded;
  using M::root;
  using M::sine_cosine;
  using M::store;
  using M::sum;
  using M::to_power;

  const Call &call;
  const UncvAev &aev;
  const T *vectors, *in;
  T *out;
  Index width, row_width;           // of a descriptor, and with its blocks padded to L
  Index radial_lanes, angle_lanes;  // padded numbers of Gaussians and angles
  std::unique_ptr<T[]> memory;
  std::unique_ptr<int32_t[]> near;
  // Constants
  T *radial_shift, *shell_shift, *cos_shift, *sin_shift;
  // Of the pairs of a group: direction, distance and its inverse, switches to the radial and the
  // angular cutoff with slopes, radial terms (or, for derivatives, their slopes)
  T *ux, *uy, *uz, *distance, *inverse, *wide, *wide_slope, *close, *close_slope, *bells;
  // Of the triples of a chunk
  T *cosine, *sine, *mean, *closeness, *shell, *slanted, *angle, *angle_slope, *turn, *inward, *level,
      *inverse1, *inverse2, *level1, *level2, *along1, *along2, *across1, *across2;
  // Of the current centre: its row of the descriptor or cotangent, and how far to the next k's.
  // In place if all blocks are whole vectors, otherwise in a padded copy
  T *rows, *row;
  Index step;
  int32_t one[CHUNK], two[CHUNK];
  Index slot[CHUNK];

 public:
  Worker(const Call &c, Index first, Index last)
      : call(c), aev(c.aev), vectors(static_cast<const T *>(c.vectors)),
        in(static_cast<const T *>(c.in)), out(static_cast<T *>(c.out)) {
    const Index kinds = aev.species * (aev.species + 1) / 2;
    radial_lanes = padded(aev.radial);
    angle_lanes = padded(aev.angles);
    width = aev.species * aev.radial + kinds * aev.shells * aev.angles;
    row_width = aev.species * radial_lanes + kinds * aev.shells * angle_lanes;
    allocate(first, last);
  }

  void run(Index first, Index last) {
    while (first < last) {
      Index end = first + 1;
      while (end < last && call.begin[end + 1] - call.begin[first] <= GROUP) ++end;
      const Index start = call.begin[first];
      pair_table(start, call.begin[end] - start);
      for (Index atom = first; atom < end; ++atom) {
        const Index from = call.begin[atom] - start, to = call.begin[atom + 1] - start;
        open_row(atom);
        for (Index p = from; p < to; ++p) radial(p, start + p);
        angular(from, to, start);
        close_row(atom);
      }
      first = end;
    }
  }

 private:
  void allocate(Index first, Index last) {
    Index most = GROUP;
    for (Index atom = first; atom < last; ++atom)
      most = std::max(most, call.begin[atom + 1] - call.begin[atom]);
    const Index pairs = padded(most), turned = CHUNK * angle_lanes;
    const Index copies = in_place() ? 0 : call.count * row_width;
    struct Part { T **at; Index size; };
    const Part parts[] = {
        {&radial_shift, radial_lanes}, {&shell_shift, padded(aev.shells)},
        {&cos_shift, angle_lanes}, {&sin_shift, angle_lanes},
        {&ux, pairs}, {&uy, pairs}, {&uz, pairs}, {&distance, pairs}, {&inverse, pairs},
        {&wide, pairs}, {&wide_slope, pairs}, {&close, pairs}, {&close_slope, pairs},
        {&bells, pairs * radial_lanes},
        {&cosine, CHUNK}, {&sine, CHUNK}, {&mean, CHUNK}, {&closeness, CHUNK},
        {&shell, CHUNK * aev.shells}, {&slanted, CHUNK * aev.shells}, {&angle, turned}, {&angle_slope, turned},
        {&turn, CHUNK}, {&inward, CHUNK}, {&level, CHUNK},
        {&inverse1, CHUNK}, {&inverse2, CHUNK}, {&level1, CHUNK}, {&level2, CHUNK},
        {&along1, CHUNK}, {&along2, CHUNK}, {&across1, CHUNK}, {&across2, CHUNK}, {&rows, copies}};
    Index total = 0;
    for (const Part &part : parts) total += part.size;
    memory.reset(new T[total]);
    near.reset(new int32_t[pairs]);
    T *free = memory.get();
    for (const Part &part : parts) { *part.at = free; free += part.size; }
    fill(radial_shift, aev.radial_shifts, aev.radial);
    fill(shell_shift, aev.angular_shifts, aev.shells);
    fill(cos_shift, aev.angle_cos, aev.angles);
    fill(sin_shift, aev.angle_sin, aev.angles);
  }

  static void fill(T *to, const double *from, Index n) {
    for (Index i = 0; i < padded(n); ++i) to[i] = i < n ? T(from[i]) : T(0);
  }

  void pair_table(Index start, Index number) {
    const Index all = padded(number);
    for (Index p = 0; p < all; ++p) {
      const T *v = vectors + 3 * (start + p);
      const bool real = p < number;
      ux[p] = real ? v[0] : T(1);
      uy[p] = real ? v[1] : T(0);
      uz[p] = real ? v[2] : T(0);
    }
    for (Index p = 0; p < all; p += L) {
      const V x = load(ux + p), y = load(uy + p), z = load(uz + p);
      const V d = root(x * x + y * y + z * z), over = T(1) / d;
      store(distance + p, d);
      store(inverse + p, over);
      store(ux + p, over * x);
      store(uy + p, over * y);
      store(uz + p, over * z);
      switches(d, T(aev.radial_cutoff), wide + p, wide_slope + p);
      switches(d, T(aev.angular_cutoff), close + p, close_slope + p);
    }
    for (Index p = 0; p < number; ++p)
      for (Index r = 0; r < radial_lanes; r += L) gaussians(p, r);
  }

  // cos(x)^2 with x = pi/2 distance/cutoff, zero past the cutoff, and its slope.
  INLINE void switches(V d, T cutoff, T *value, T *slope) {
    const V outside = V{} + cutoff, zero{};
    V s, c;
    sine_cosine((d < cutoff ? d : outside) * (T(M_PI_2) / cutoff) - T(M_PI_4), s, c);
    store(value, d >= cutoff ? zero : T(0.5) * (c - s) * (c - s));
    if (task != DESCRIBE)
      store(slope, d >= cutoff ? zero : (T(-M_PI_2) / cutoff) * (c - s) * (c + s));
  }

  INLINE void gaussians(Index p, Index r) {
    const T eta = T(aev.radial_eta);
    const V offset = distance[p] - load(radial_shift + r);
    const V bell = T(0.25) * exponential(-eta * offset * offset);
    const V factor = task == DESCRIBE ? V{} + wide[p]
                                      : wide_slope[p] - (T(2) * eta * wide[p]) * offset;
    store(bells + p * radial_lanes + r, bell * factor);
  }

  INLINE void radial(Index p, Index pair) {
    const T *values = bells + p * radial_lanes;
    T *at = row + call.other[pair] * radial_lanes;
    for (Index k = 0; k < call.count; ++k, at += step) {
      if (task == PULL_BACK) {
        V along{};
        for (Index r = 0; r < radial_lanes; r += L) along += load(at + r) * load(values + r);
        const T total = sum(along);
        T *to = out + 3 * (k * call.pairs + pair);
        to[0] = total * ux[p];
        to[1] = total * uy[p];
        to[2] = total * uz[p];
      } else {
        const T *w = in + 3 * (k * call.pairs + pair);
        const T factor = task == DESCRIBE ? T(1) : w[0] * ux[p] + w[1] * uy[p] + w[2] * uz[p];
        for (Index r = 0; r < radial_lanes; r += L)
          store(at + r, load(at + r) + factor * load(values + r));
      }
    }
  }

  // Chunks of the pairs of near neighbours; a distance that is not a number counts as near.
  void angular(Index from, Index to, Index start) {
    const T limit = T(aev.angular_cutoff);
    const Index *other = call.other + start;
    Index number = 0;
    for (Index p = from; p < to; ++p) {
      near[number] = int32_t(p);
      number += !(distance[p] >= limit);
    }
    for (Index i = 0, j = 1; i + 1 < number;) {
      Index filled = 0;
      for (; i + 1 < number; ++i, j = i + 1) {
        const Index *kinds = aev.species_pair + aev.species * other[near[i]];
        for (; j < number && filled < CHUNK; ++j, ++filled) {
          one[filled] = near[i];
          two[filled] = near[j];
          slot[filled] = kinds[other[near[j]]] * aev.shells * angle_lanes;
        }
        if (j < number) break;
      }
      triples(filled, start);
    }
  }

  void triples(Index number, Index start) {
    const Index all = padded(number);
    for (Index t = number; t < all; ++t) { one[t] = one[0]; two[t] = two[0]; }
    for (Index t = 0; t < all; ++t) {
      const int32_t i = one[t], j = two[t];
      cosine[t] = T(0.95) * (ux[i] * ux[j] + uy[i] * uy[j] + uz[i] * uz[j]);
      mean[t] = T(0.5) * (distance[i] + distance[j]);
      closeness[t] = close[i] * close[j];
      if (task != PULL_BACK) continue;
      inverse1[t] = inverse[i];
      inverse2[t] = inverse[j];
      level1[t] = close_slope[i] * close[j];
      level2[t] = close[i] * close_slope[j];
    }
    for (Index t = 0; t < all; t += L) {
      const V c = load(cosine + t);
      store(sine + t, root(T(1) - c * c));
      for (Index a = 0; a < aev.shells; ++a) {
        const V offset = load(mean + t) - shell_shift[a];
        const V bell = T(2) * exponential(T(-aev.angular_eta) * offset * offset);
        store(shell + a * CHUNK + t, bell);
        // A term's slope along its shell.
        if (task != DESCRIBE) store(slanted + a * CHUNK + t, T(-aev.angular_eta) * offset * bell);
      }
    }
    for (Index t = 0; t < number; ++t)
      for (Index z = 0; z < angle_lanes; z += L) angles(t, z);
    T *at = row + aev.species * radial_lanes;
    for (Index k = 0; k < call.count; ++k, at += step) {
      if (task == DESCRIBE) describe(at, number);
      if (task == PULL_BACK) pull_back(at, number, out + 3 * (k * call.pairs + start));
      if (task == PUSH_FORWARD) push_forward(at, number, in + 3 * (k * call.pairs + start));
    }
  }

  // Sharpened angles, and their derivatives with respect to the cosine.
  INLINE void angles(Index t, Index z) {
    const V cz = load(cos_shift + z), sz = load(sin_shift + z);
    const V half = T(0.5) + T(0.5) * (cosine[t] * cz + sine[t] * sz);
    const Index at = t * angle_lanes + z;
    if (task == DESCRIBE) {
      store(angle + at, to_power(half, aev.zeta, 0));
    } else {
      const V sharp = to_power(half, aev.zeta, 1);
      store(angle + at, sharp * half);
      store(angle_slope + at, T(0.5 * aev.zeta) * sharp * (cz - (cosine[t] / sine[t]) * sz));
    }
  }

  void describe(T *at, Index number) const {
    const Index lanes = angle_lanes, shells = aev.shells;
    const T *const angle = this->angle, *const shell = this->shell;
    for (Index t = 0; t < number; ++t)
      for (Index z = 0; z < lanes; z += L) {
        const V value = closeness[t] * load(angle + t * lanes + z);
        T *to = at + slot[t] + z;
        for (Index a = 0; a < shells; ++a, to += lanes)
          store(to, load(to) + shell[a * CHUNK + t] * value);
      }
  }

  void pull_back(const T *at, Index number, T *forces) {
    for (Index first = 0; first < number; first += L) {
      const Index end = std::min<Index>(first + L, number);
      V turns[L] = {}, inwards[L] = {}, levels[L] = {};
      for (Index t = first; t < end; ++t)
        for (Index z = 0; z < angle_lanes; z += L) {
          V plain{}, moved{};
          const T *from = at + slot[t] + z;
          for (Index a = 0; a < aev.shells; ++a, from += angle_lanes) {
            const V g = load(from);
            plain += shell[a * CHUNK + t] * g;
            moved += slanted[a * CHUNK + t] * g;
          }
          const V value = load(angle + t * angle_lanes + z);
          turns[t - first] += plain * load(angle_slope + t * angle_lanes + z);
          inwards[t - first] += moved * value;
          levels[t - first] += plain * value;
        }
      const V closed = load(closeness + first);
      store(turn + first, closed * M::sums(turns));
      store(inward + first, closed * M::sums(inwards));
      store(level + first, M::sums(levels));
    }
    for (Index t = 0; t < number; t += L) {
      const V turned = load(turn + t), moved = load(inward + t), height = load(level + t);
      const V side1 = turned * load(inverse1 + t), side2 = turned * load(inverse2 + t);
      store(along1 + t, moved + load(level1 + t) * height - load(cosine + t) * side1);
      store(along2 + t, moved + load(level2 + t) * height - load(cosine + t) * side2);
      store(across1 + t, T(0.95) * side1);
      store(across2 + t, T(0.95) * side2);
    }
    for (Index t = 0; t < number;) t = push(t, number, forces);
  }

  // Each of the two vectors of a triple gets a part along itself and a part along the other one.
  // All triples from t on with the same first vector; returns where the next begin.
  INLINE Index push(Index t, Index number, T *forces) const {
    const int32_t i = one[t];
    T own = 0, x = 0, y = 0, z = 0;
    for (; t < number && one[t] == i; ++t) {
      const int32_t j = two[t];
      T *force = forces + 3 * j;
      own += along1[t];
      x += across1[t] * ux[j];
      y += across1[t] * uy[j];
      z += across1[t] * uz[j];
      force[0] += along2[t] * ux[j] + across2[t] * ux[i];
      force[1] += along2[t] * uy[j] + across2[t] * uy[i];
      force[2] += along2[t] * uz[j] + across2[t] * uz[i];
    }
    forces[3 * i] += own * ux[i] + x;
    forces[3 * i + 1] += own * uy[i] + y;
    forces[3 * i + 2] += own * uz[i] + z;
    return t;
  }

  void push_forward(T *at, Index number, const T *tangents) {
    for (Index t = 0; t < number; ++t) {
      const int32_t i = one[t], j = two[t];
      const T *w1 = tangents + 3 * i, *w2 = tangents + 3 * j;
      const T d1 = dot(w1, i), d2 = dot(w2, j), c = cosine[t];
      const T turned = closeness[t] * (inverse[i] * (T(0.95) * dot(w1, j) - c * d1) +
                                       inverse[j] * (T(0.95) * dot(w2, i) - c * d2));
      const T levelled = close_slope[i] * close[j] * d1 + close[i] * close_slope[j] * d2;
      const T moved = closeness[t] * (d1 + d2);
      for (Index z = 0; z < angle_lanes; z += L) {
        const V value = load(angle + t * angle_lanes + z);
        const V slope = turned * load(angle_slope + t * angle_lanes + z);
        for (Index a = 0; a < aev.shells; ++a) {
          T *to = at + slot[t] + a * angle_lanes + z;
          const T bell = shell[a * CHUNK + t];
          const T along = bell * levelled + moved * slanted[a * CHUNK + t];
          store(to, load(to) + along * value + bell * slope);
        }
      }
    }
  }

  INLINE T dot(const T *w, int32_t i) const { return w[0] * ux[i] + w[1] * uy[i] + w[2] * uz[i]; }

  INLINE bool in_place() const { return row_width == width; }

  void open_row(Index atom) {
    T *place = (task == PULL_BACK ? const_cast<T *>(in) : out) + atom * width;
    row = in_place() ? place : rows;
    step = in_place() ? call.atoms * width : row_width;
    for (Index k = 0; k < call.count; ++k) {
      if (task != PULL_BACK) std::memset(row + k * step, 0, size_t(row_width) * sizeof(T));
      else if (!in_place()) copy_blocks(in + (k * call.atoms + atom) * width, row + k * step, true);
    }
  }

  void close_row(Index atom) {
    if (task == PULL_BACK || in_place()) return;
    for (Index k = 0; k < call.count; ++k)
      copy_blocks(row + k * step, out + (k * call.atoms + atom) * width, false);
  }

  // Into a row with padded blocks, or out of it.
  void copy_blocks(const T *from, T *to, bool padding) const {
    const Index kinds = aev.species * (aev.species + 1) / 2;
    for (Index block = 0; block < aev.species + kinds * aev.shells; ++block) {
      const Index size = block < aev.species ? aev.radial : aev.angles;
      if (padding) std::memset(to, 0, size_t(padded(size)) * sizeof(T));
      std::memcpy(to, from, size_t(size) * sizeof(T));
      from += padding ? size : padded(size);
      to += padding ? padded(size) : size;
    }
  }
};

template <class T, int L> void work(const Call &call, Index first, Index last) {
  if (call.task == DESCRIBE) Worker<T, L, DESCRIBE>(call, first, last).run(first, last);
  if (call.task == PULL_BACK) Worker<T, L, PULL_BACK>(call, first, last).run(first, last);
  if (call.task == PUSH_FORWARD) Worker<T, L, PUSH_FORWARD>(call, first, last).run(first, last);
}

}  // namespace

extern "C" {

// Raised whenever the meaning of a call changes; library.py compares.
int uncv_kernel_version() { return 4; }

// 0: done; 1: the pairs are not sorted by centre or a species is out of range; 2: out of memory.
int uncv_aev(const UncvAev *aev, int task, int is_double, int64_t atoms, int64_t pairs,
             int64_t count, const int64_t *begin, const int64_t *other, const void *vectors,
             const void *in, void *out, int64_t threads) {
  const Call call{*aev, task, is_double != 0, atoms, pairs, count, begin, other, vectors, in, out};
  const Pairs all{atoms, pairs, begin, other};
  if (!all.valid(aev->species)) return BAD_PAIRS;
  return share_atoms(all, threads, [&call](Index first, Index last) {
    call.is_double ? work<double, DOUBLES>(call, first, last)
                   : work<float, FLOATS>(call, first, last);
  });
}
}
