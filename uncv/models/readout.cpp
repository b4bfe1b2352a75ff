// Networks of all members, element by element, on the CPU: the energies of atoms and, in the same
// breath, their gradients by the descriptor.
//
// With few atoms the time goes into reading weights. Here those of a network are read once, and its
// gradients follow while its activations are in the cache, before anyone has said which combination
// of the members is wanted. So the gradient of the energy, of an uncertainty, or of both apart, is
// afterwards one small product.
//
// A layer is done in tiles of R rows by two vectors of L columns, whose weights lie side by side:
// readout_kernel.py packs them so, and once more transposed for the way down. Rows end in whole
// vectors; what is past the end of a layer is zero. NaN in a descriptor comes out as NaN.

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <system_error>
#include <thread>
#include <vector>

#include "vectors.h"

#if defined(__SSE__)
#include <xmmintrin.h>
#endif

// Shapes and weights of an ensemble; readout_kernel.py fills the same structure.
struct UncvReadout {
  int64_t elements, members, width, smooth;
  const int64_t *layers;      // of each element: hidden ones and the output
  const int64_t *widths;      // of these, one element after the other
  const int64_t *sizes;       // of each element: numbers that one member takes up
  const void *const *memory;  // of each element: member after member
};

namespace {

using namespace uncv;

struct Job {
  const UncvReadout &readout;
  bool is_double;
  Index atoms;
  const Index *counts, *const *rows;
  const void *described;
  void *energies, *gradients;
};

struct Piece {
  Index element, member, first, count;
};

constexpr Index BLOCK = 48;       // rows that one network works on at once
constexpr double WORTH = 5e6;     // multiplications below which a thread costs more than it brings

// Denormal numbers are zero while this exists: products of small slopes are many of them, each a
// hundred times slower than others.
class TinyIsZero {
#if defined(__SSE__)
  const unsigned before = _mm_getcsr();

 public:
  TinyIsZero() { _mm_setcsr(before | 0x8040); }
  ~TinyIsZero() { _mm_setcsr(before); }
#endif
};

// The networks of one element, and room for a block of rows.
template <class T, int L> class Network : Maths<T, L> {
  using M = Maths<T, L>;
  using V = typename M::V;
  using M::load;
  using M::padded;
  using M::store;

#if defined(__AVX512F__)
  static constexpr int ROWS = 12;  // of a tile: two registers each, and some to spare
#else
  static constexpr int ROWS = 6;
#endif

  const Job &job;
  const UncvReadout &of;
  const Index element, depth;  // hidden layers
  const Index *widths;
  const Index step;  // of the descriptor's rows
  std::unique_ptr<T[]> memory;
  T *x;                               // rows of the descriptor, afterwards their gradients
  std::vector<T *> values, slopes;    // of the hidden layers: σ(z); σ'(z), afterwards dE/dz
  T no_bias[2 * L] = {};

 public:
  Network(const Job &its_job, Index its_element)
      : job(its_job), of(job.readout), element(its_element), depth(of.layers[element] - 1),
        widths(of.widths), step(padded(of.width)) {
    for (Index e = 0; e < element; ++e) widths += of.layers[e];
    Index total = BLOCK * step;
    for (Index l = 0; l < depth; ++l) total += 2 * BLOCK * padded(widths[l]);
    memory.reset(new T[size_t(total)]);
    x = memory.get();
    T *next = x + BLOCK * step;
    for (Index l = 0; l < depth; ++l, next += BLOCK * padded(widths[l - 1])) {
      values.push_back(next);
      slopes.push_back(next += BLOCK * padded(widths[l]));
    }
  }

  void run(const Piece &piece) {
    const T *weights = static_cast<const T *>(of.memory[element]);
    weights += piece.member * of.sizes[element];
    const Index *rows = job.rows[element] + piece.first;
    const T *from = static_cast<const T *>(job.described);
    for (Index r = 0; r < piece.count; ++r)
      std::memcpy(x + r * step, from + rows[r] * of.width, size_t(of.width) * sizeof(T));
    const T *last = up(weights, piece.count);
    T *energies = static_cast<T *>(job.energies) + piece.member * job.atoms;
    for (Index r = 0; r < piece.count; ++r) energies[rows[r]] = output(r, last);
    if (job.gradients == nullptr) return;
    down(last, piece.count);
    T *to = static_cast<T *>(job.gradients) + piece.member * of.width;
    for (Index r = 0; r < piece.count; ++r)
      std::memcpy(to + rows[r] * of.members * of.width, x + r * step,
                  size_t(of.width) * sizeof(T));
  }

 private:
  // Activations of all hidden layers; returns the weights of the output.
  const T *up(const T *w, Index n) {
    const T *below = x;
    Index in = of.width, in_step = step;
    for (Index l = 0; l < depth; ++l) {
      const Index out = padded(widths[l]);
      layer(below, in_step, in, w, w + in * out, n, values[l], out);
      activate(values[l], slopes[l], n * out);
      w += (in + 1) * out;
      below = values[l], in = widths[l], in_step = out;
    }
    return w;
  }

  T output(Index row, const T *w) const {
    const Index in = padded(widths[depth - 1]);
    V total{};
    for (Index i = 0; i < in; i += L) total += load(values[depth - 1] + row * in + i) * load(w + i);
    return M::sum(total) + w[in];
  }

  // From the slopes to the gradients, which take the place of the descriptor.
  void down(const T *w, Index n) {
    const Index last = padded(widths[depth - 1]);
    for (Index r = 0; r < n; ++r)
      for (Index o = 0; o < last; o += L) times(slopes[depth - 1] + r * last + o, load(w + o));
    w += last + L;
    for (Index l = depth - 1; l > 0; --l) {
      const Index in = padded(widths[l - 1]);
      T *turned = values[l - 1];
      layer(slopes[l], padded(widths[l]), widths[l], w, nullptr, n, turned, in);
      for (Index k = 0; k < n * in; k += L) times(slopes[l - 1] + k, load(turned + k));
      w += widths[l] * in;
    }
    layer(slopes[0], padded(widths[0]), widths[0], w, nullptr, n, x, step);
  }

  static INLINE void times(T *at, V factor) { store(at, load(at) * factor); }

  // z (n, out) = x (n, in) W + b.
  void layer(const T *x, Index x_step, Index in, const T *w, const T *bias, Index n, T *z,
             Index out) const {
    for (Index o = 0; o < out; o += 2 * L) {
      const T *b = bias == nullptr ? no_bias : bias + o, *panel = w + o * in;
      for (Index r = 0; r < n; r += ROWS) {
        const Index rows = std::min<Index>(ROWS, n - r);
        const T *from = x + r * x_step;
        T *to = z + r * out + o;
        if (o + L < out) tiles<2>(rows, from, x_step, in, panel, b, to, out);
        else tiles<1>(rows, from, x_step, in, panel, b, to, out);
      }
    }
  }

  template <int C, int R = ROWS>
  static INLINE void tiles(Index rows, const T *x, Index x_step, Index in, const T *w,
                           const T *bias, T *z, Index out) {
    if constexpr (R > 0) {
      if (rows == R) tile<R, C>(x, x_step, in, w, bias, z, out);
      else tiles<C, R - 1>(rows, x, x_step, in, w, bias, z, out);
    }
  }

  template <int R, int C>
  static void tile(const T *x, Index x_step, Index in, const T *w, const T *bias, T *z,
                   Index out) {
    V sum[R][C];
    for (int r = 0; r < R; ++r)
      for (int c = 0; c < C; ++c) sum[r][c] = load(bias + c * L);
    for (Index i = 0; i < in; ++i, w += C * L) {
      V row[C];
      for (int c = 0; c < C; ++c) row[c] = load(w + c * L);
      for (int r = 0; r < R; ++r)
        for (int c = 0; c < C; ++c) sum[r][c] += x[r * x_step + i] * row[c];
    }
    for (int r = 0; r < R; ++r)
      for (int c = 0; c < C; ++c) store(z + r * out + c * L, sum[r][c]);
  }

  // From z to σ(z) and σ'(z): SiLU, or CELU of α = 0.1.
  void activate(T *z, T *slope, Index n) const {
    for (Index k = 0; k < n; k += L) {
      const V v = load(z + k);
      if (of.smooth) {
        const V e = M::exponential(v > 0 ? -v : v), share = (v > 0 ? V{} + T(1) : e) / (1 + e);
        store(z + k, v * share);
        store(slope + k, share * (1 + v * (1 - share)));
      } else {
        const V e = M::exponential((v > 0 ? V{} : v) * T(10));
        store(z + k, v > 0 ? v : T(0.1) * (e - 1));
        store(slope + k, e);
      }
    }
  }
};

// One thread: takes pieces until none is left.
template <class T, int L>
void work(const Job &job, const std::vector<Piece> &pieces, std::atomic<size_t> &next) {
  const TinyIsZero here;
  std::unique_ptr<Network<T, L>> network;
  Index element = -1;
  for (size_t k = next++; k < pieces.size(); k = next++) {
    if (pieces[k].element != element) {
      element = pieces[k].element;
      network = std::make_unique<Network<T, L>>(job, element);
    }
    network->run(pieces[k]);
  }
}

std::vector<Piece> cut(const Job &job, double &multiplications) {
  std::vector<Piece> pieces;
  const UncvReadout &of = job.readout;
  for (Index e = 0; e < of.elements; ++e) {
    multiplications += double(of.sizes[e]) * double(of.members * job.counts[e]);
    for (Index m = 0; m < of.members; ++m)
      for (Index first = 0; first < job.counts[e]; first += BLOCK)
        pieces.push_back({e, m, first, std::min(BLOCK, job.counts[e] - first)});
  }
  return pieces;
}

void share(const Job &job, Index threads, std::atomic<bool> &failed) {
  double multiplications = 0;
  const std::vector<Piece> pieces = cut(job, multiplications);
  std::atomic<size_t> next{0};
  const auto guarded = [&] {
    try {
      if (job.is_double) work<double, MOST_DOUBLES>(job, pieces, next);
      else work<float, MOST_FLOATS>(job, pieces, next);
    } catch (const std::bad_alloc &) {
      failed = true;
    }
  };
  const Index useful = std::min(threads, Index(multiplications / WORTH) + 1);
  std::vector<std::thread> team;
  team.reserve(size_t(useful));
  for (Index n = 1; n < useful; ++n) {
    try { team.emplace_back(guarded); } catch (const std::system_error &) { break; }
  }
  guarded();
  for (std::thread &member : team) member.join();
}

template <class T, int L>
void combine(Index atoms, Index members, Index width, const T *cotangents, const T *gradients,
             T *out) {
  using M = Maths<T, L>;
  const Index whole = width / L * L;
  for (Index n = 0; n < atoms; ++n, out += width) {
    std::memset(out, 0, size_t(width) * sizeof(T));
    for (Index m = 0; m < members; ++m, gradients += width) {
      const T factor = cotangents[m * atoms + n];
      for (Index d = 0; d < whole; d += L)
        M::store(out + d, M::load(out + d) + factor * M::load(gradients + d));
      for (Index d = whole; d < width; ++d) out[d] += factor * gradients[d];
    }
  }
}

}  // namespace

extern "C" {

// How many numbers of a type are worked on at once: readout_kernel.py packs weights by it.
int uncv_lanes(int is_double) { return is_double ? MOST_DOUBLES : MOST_FLOATS; }

// Energies (M, N) of the atoms named by rows and, unless null, their gradients (N, M, D).
// 0: done; 2: out of memory.
int uncv_readout(const UncvReadout *readout, int is_double, int64_t atoms, const int64_t *counts,
                 const int64_t *const *rows, const void *described, void *energies,
                 void *gradients, int64_t threads) {
  const Job job{*readout, is_double != 0, atoms, counts, rows, described, energies, gradients};
  std::atomic<bool> failed{false};
  try {
    share(job, threads, failed);
  } catch (const std::bad_alloc &) {
    return 2;
  }
  return failed ? 2 : 0;
}

// Gradients (N, D) of the sum of cotangents (M, N) times energies, from those of the energies.
void uncv_combine(int is_double, int64_t atoms, int64_t members, int64_t width,
                  const void *cotangents, const void *gradients, void *out) {
  if (is_double)
    combine<double, MOST_DOUBLES>(atoms, members, width, static_cast<const double *>(cotangents),
                                  static_cast<const double *>(gradients),
                                  static_cast<double *>(out));
  else
    combine<float, MOST_FLOATS>(atoms, members, width, static_cast<const float *>(cotangents),
                                static_cast<const float *>(gradients), static_cast<float *>(out));
}
}
