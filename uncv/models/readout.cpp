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
// vectors; what is past the end of a layer is zero. For few rows the way down takes the weights of
// the way up, which are in the cache, in products along the rows instead of the columns.
// NaN in a descriptor comes out as NaN.

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

// Shapes and weights of an ensemble; readout_kernel.py fills the same structure.
struct UncvReadout {
  int64_t elements, members, width, smooth;
  const int64_t *layers;      // of each element: hidden ones and the output
  const int64_t *widths;      // of these, one element after the other
  const int64_t *sizes;       // of each element: numbers that one member takes up
  const void *const *memory;  // of each element: member after member
};

// What is kept of hidden layers, with room for that of any element; null if it is not wanted.
struct UncvTape {
  void *last;             // σ(z) of the last one (M, N, last_width)
  void *slopes;           // σ'(z) of all, one after the other (M, N, slopes_width)
  int64_t last_width, slopes_width;
};

namespace {

using namespace uncv;

struct Job {
  const UncvReadout &readout;
  bool is_double;
  Index atoms;
  const Index *counts, *const *rows;
  const UncvTape &tape;
  const void *described;
  void *energies, *gradients;
  const void *cotangents;  // of the last hidden layer; if there are any, nothing else is done
};

struct Piece {
  Index element, member, first, count;
};

constexpr Index BLOCK = 48;       // rows that one network works on at once
constexpr Index FEW = 16;         // rows for which reading weights costs more than using them
constexpr Index AHEAD = 4096;     // bytes by which weights are asked for before they are used
constexpr double WORTH = 5e6;     // multiplications below which a thread costs more than it brings

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
  std::vector<Index> up_at, down_at;  // where their weights begin
  Index output_at;
  T no_bias[2 * L] = {};
  const char *next = nullptr, *next_end = nullptr;  // weights that will be wanted afterwards

 public:
  Network(const Job &its_job, Index its_element)
      : job(its_job), of(job.readout), element(its_element), depth(of.layers[element] - 1),
        widths(of.widths), step(padded(of.width)) {
    for (Index e = 0; e < element; ++e) widths += of.layers[e];
    Index total = BLOCK * step + 64;
    for (Index l = 0; l < depth; ++l) total += 2 * BLOCK * padded(widths[l]);
    memory.reset(new T[size_t(total)]);
    void *place = memory.get();
    size_t room = size_t(total) * sizeof(T);
    x = static_cast<T *>(std::align(64, room / 2, place, room));  // whole lines of the cache
    T *free = x + BLOCK * step;
    for (Index l = 0; l < depth; ++l, free += BLOCK * padded(widths[l - 1])) {
      values.push_back(free);
      slopes.push_back(free += BLOCK * padded(widths[l]));
    }
    place_weights();
  }

  // Weights of the way up that the next piece begins with: brought nearer on this one's way down.
  void expect(const Piece &piece) {
    next = reinterpret_cast<const char *>(static_cast<const T *>(of.memory[piece.element]) +
                                          piece.member * of.sizes[piece.element]);
    next_end = next + of.sizes[piece.element] * Index(sizeof(T)) / 2;
  }

  // Of one member and a block of atoms: energies and whatever else is wanted.
  void run(const Piece &piece) {
    const T *weights = weights_of(piece.member);
    const Index *rows = job.rows[element] + piece.first;
    const T *from = static_cast<const T *>(job.described);
    for (Index r = 0; r < piece.count; ++r)
      std::memcpy(x + r * step, from + rows[r] * of.width, size_t(of.width) * sizeof(T));
    up(weights, piece.count);
    T *energies = static_cast<T *>(job.energies) + piece.member * job.atoms;
    const T *last = weights + output_at;
    for (Index r = 0; r < piece.count; ++r) energies[rows[r]] = output(r, last);
    if (job.tape.last != nullptr) keep(piece, rows);
    if (job.gradients == nullptr) return;
    for (Index r = 0; r < piece.count; ++r)
      for (Index o = 0; o < end_width(); o += L)
        times(slopes[depth - 1] + r * end_width() + o, load(last + o));
    down(weights, piece.count);
    T *to = static_cast<T *>(job.gradients) + piece.member * of.width;
    for (Index r = 0; r < piece.count; ++r)
      std::memcpy(to + rows[r] * of.members * of.width, x + r * step,
                  size_t(of.width) * sizeof(T));
  }

  // Of all members and a block of atoms: gradients by the descriptor from those by the last
  // hidden layer, added to what is there. Members without any cost nothing.
  void back(const Piece &piece) {
    const Index *rows = job.rows[element] + piece.first;
    T *to = static_cast<T *>(job.gradients);
    for (Index member = 0; member < of.members; ++member) {
      if (!take_up(member, rows, piece.count)) continue;
      down(weights_of(member), piece.count);
      for (Index r = 0; r < piece.count; ++r)
        for (Index d = 0; d < of.width; ++d) to[rows[r] * of.width + d] += x[r * step + d];
    }
  }

 private:
  void place_weights() {
    Index at = 0, in = of.width;
    for (Index l = 0; l < depth; in = widths[l++]) {
      up_at.push_back(at);
      at += (in + 1) * padded(widths[l]);
    }
    output_at = at;
    at += end_width() + L;
    down_at.resize(size_t(depth));
    for (Index l = depth - 1; l >= 0; --l) {
      down_at[size_t(l)] = at;
      at += widths[l] * padded(l > 0 ? widths[l - 1] : of.width);
    }
  }

  const T *weights_of(Index member) const {
    return static_cast<const T *>(of.memory[element]) + member * of.sizes[element];
  }

  Index end_width() const { return padded(widths[depth - 1]); }

  // Into the tape, without what is past the end of the last layer.
  void keep(const Piece &piece, const Index *rows) const {
    const UncvTape &tape = job.tape;
    for (Index r = 0; r < piece.count; ++r) {
      const Index at = piece.member * job.atoms + rows[r];
      std::memcpy(static_cast<T *>(tape.last) + at * tape.last_width,
                  values[depth - 1] + r * end_width(), size_t(widths[depth - 1]) * sizeof(T));
      if (tape.slopes == nullptr) continue;
      T *to = static_cast<T *>(tape.slopes) + at * tape.slopes_width;
      for (Index l = 0; l < depth; to += padded(widths[l++]))
        std::memcpy(to, slopes[l] + r * padded(widths[l]),
                    size_t(padded(widths[l])) * sizeof(T));
    }
  }

  // Slopes from the tape, those of the last layer times its cotangents; whether there are any.
  bool take_up(Index member, const Index *rows, Index n) {
    const UncvTape &tape = job.tape;
    const T *given = static_cast<const T *>(job.cotangents) + member * job.atoms * tape.last_width;
    const T *kept = static_cast<const T *>(tape.slopes) + member * job.atoms * tape.slopes_width;
    bool any = false;
    for (Index r = 0; r < n; ++r)
      for (Index o = 0; o < widths[depth - 1]; ++o)
        any |= given[rows[r] * tape.last_width + o] != 0;
    for (Index r = 0; any && r < n; ++r) {
      const T *from = kept + rows[r] * tape.slopes_width;
      for (Index l = 0; l < depth; from += padded(widths[l++]))
        std::memcpy(slopes[l] + r * padded(widths[l]), from,
                    size_t(padded(widths[l])) * sizeof(T));
      T *end = slopes[depth - 1] + r * end_width();
      for (Index o = 0; o < widths[depth - 1]; ++o) end[o] *= given[rows[r] * tape.last_width + o];
      for (Index o = widths[depth - 1]; o < end_width(); ++o) end[o] = 0;
    }
    return any;
  }

  // Activations of all hidden layers.
  void up(const T *weights, Index n) {
    const T *below = x;
    Index in = of.width, in_step = step;
    for (Index l = 0; l < depth; ++l) {
      const Index out = padded(widths[l]);
      const T *w = weights + up_at[size_t(l)];
      layer(below, in_step, in, w, w + in * out, n, values[l], out);
      activate(values[l], slopes[l], n * out);
      below = values[l], in = widths[l], in_step = out;
    }
  }

  T output(Index row, const T *w) const {
    const Index in = padded(widths[depth - 1]);
    V total{};
    for (Index i = 0; i < in; i += L) total += load(values[depth - 1] + row * in + i) * load(w + i);
    return M::sum(total) + w[in];
  }

  // From dE/dz of the last hidden layer to gradients, which take the place of the descriptor.
  void down(const T *weights, Index n) {
    for (Index l = depth - 1; l > 0; --l) {
      T *turned = values[l - 1];
      turn(l, weights, widths[l - 1], n, turned, padded(widths[l - 1]));
      for (Index k = 0; k < n * padded(widths[l - 1]); k += L)
        times(slopes[l - 1] + k, load(turned + k));
    }
    turn(0, weights, of.width, n, x, step);
  }

  // dE/dz (n, out) of a layer times its transposed weights.
  void turn(Index l, const T *weights, Index in, Index n, T *to, Index to_step) {
    const Index out = padded(widths[l]);
    if (n > FEW)
      return layer(slopes[l], out, widths[l], weights + down_at[size_t(l)], nullptr, n, to, to_step);
    const T *w = weights + up_at[size_t(l)], *d = slopes[l];
    constexpr int MOST = L < 4 ? L : 4;
    for (Index i = 0; i < in; i += L) {  // weights that fit into the nearest cache
      Index r = 0;
      for (; r + MOST <= n; r += MOST) dots<MOST>(d + r * out, out, w, in, i, to + r * to_step, to_step);
      for (; r + 2 <= n; r += 2) dots<2>(d + r * out, out, w, in, i, to + r * to_step, to_step);
      if (r < n) dots<1>(d + r * out, out, w, in, i, to + r * to_step, to_step);
    }
  }

  // R rows and L columns of it, from the weights of the way up: L sums at once fill a vector.
  template <int R>
  void dots(const T *d, Index out, const T *w, Index in, Index begin, T *to, Index to_step) {
    constexpr int I = L / R;
    for (Index i = begin; i < std::min(begin + L, in); i += I) {
      V sum[L] = {};
      Index at[I];
      for (int k = 0; k < I; ++k) at[k] = std::min(i + k, in - 1) * L;
      for (Index o = 0; o < out; o += 2 * L) {
        for (int line = 0; line < 8 / R && next < next_end; ++line, next += 64)
          __builtin_prefetch(next, 0, 2);
        if (o + L < out) add_dots<R, 2>(sum, d + o, out, w + o * in, at);
        else add_dots<R, 1>(sum, d + o, out, w + o * in, at);
      }
      T found[L];
      store(found, M::sums(sum));
      for (int r = 0; r < R; ++r) {
        T *here = to + r * to_step + i;
        if (i + I <= in) std::memcpy(here, found + r * I, I * sizeof(T));
        else std::copy_n(found + r * I, in - i, here);
      }
    }
  }

  template <int R, int C>
  static INLINE void add_dots(V *sum, const T *d, Index d_step, const T *w, const Index *at) {
    for (int c = 0; c < C; ++c) {
      V own[R];
      for (int r = 0; r < R; ++r) own[r] = load(d + r * d_step + c * L);
      for (int k = 0; k < L / R; ++k) {
        const V weight = load(w + at[k] * C + c * L);
        for (int r = 0; r < R; ++r) sum[r * (L / R) + k] += own[r] * weight;
      }
    }
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
      for (int c = 0; c < C; ++c) __builtin_prefetch(w + c * L + AHEAD / Index(sizeof(T)), 0, 2);
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
  for (size_t k = next++, then; k < pieces.size(); k = then) {
    then = next++;
    if (pieces[k].element != element) {
      element = pieces[k].element;
      network = std::make_unique<Network<T, L>>(job, element);
    }
    if (then < pieces.size()) network->expect(pieces[then]);
    if (job.cotangents == nullptr) network->run(pieces[k]);
    else network->back(pieces[k]);
  }
}

std::vector<Piece> cut(const Job &job, double &multiplications) {
  std::vector<Piece> pieces;
  const UncvReadout &of = job.readout;
  for (Index e = 0; e < of.elements; ++e) {
    multiplications += double(of.sizes[e]) * double(of.members * job.counts[e]);
    // On the way back a piece is of all members, whose gradients are added up.
    for (Index m = 0; m < (job.cotangents == nullptr ? of.members : 1); ++m)
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

int run(const Job &job, Index threads) {
  std::atomic<bool> failed{false};
  try {
    share(job, threads, failed);
  } catch (const std::bad_alloc &) {
    return 2;
  }
  return failed ? 2 : 0;
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

// Energies (M, N) of the atoms named by rows; unless null, their gradients (N, M, D), and a tape.
// 0: done; 2: out of memory.
int uncv_readout(const UncvReadout *readout, int is_double, int64_t atoms, const int64_t *counts,
                 const int64_t *const *rows, const UncvTape *tape, const void *described,
                 void *energies, void *gradients, int64_t threads) {
  return run({*readout, is_double != 0, atoms, counts, rows, *tape, described, energies, gradients,
              nullptr}, threads);
}

// Adds to gradients (N, D) what follows from cotangents (M, N, last_width) of the tape's last.
// 0: done; 2: out of memory.
int uncv_readout_back(const UncvReadout *readout, int is_double, int64_t atoms,
                      const int64_t *counts, const int64_t *const *rows, const UncvTape *tape,
                      const void *cotangents, void *gradients, int64_t threads) {
  return run({*readout, is_double != 0, atoms, counts, rows, *tape, nullptr, nullptr, gradients,
              cotangents}, threads);
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
