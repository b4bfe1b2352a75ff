// Second derivatives of the descriptor: for cotangents g and tangents v of the pair vectors, how
// J^T g changes along v, which is H v with the Hessian H of <g, descriptor> by the pair vectors.
//
// Equations: those of kernel.cpp. A radial term phi(d) of direction u gives
// phi'' (u.v) u + phi'/d (v - (u.v) u). A triple's term is phi(c, d1, d2) with the cosine
// c = 0.95 u1.u2; everything that its angles and shells have to say are six sums of g times the
// derivatives of A(c) = half^zeta and B(mean distance).
//
// NaN in a pair vector comes out as NaN: no flag may assume finite numbers.

#include <cmath>
#include <cstring>
#include <memory>

#include "descriptor.h"

namespace {

using namespace uncv;

struct Call {
  const UncvAev &aev;
  Pairs pairs;
  Index count;  // of cotangents and of tangents
  const void *vectors, *cotangents, *tangents;
  void *out;
};

constexpr Index CHUNK = 64;  // triples worked on at once, a multiple of every L

enum { S00, S10, S20, S01, S11, S02, SUMS };  // derivatives by cosine, then by mean distance

// Everything one thread does for the atoms it was given.
template <class T, int L> class Worker : Maths<T, L> {
  using M = Maths<T, L>;
  using V = typename M::V;
  using P = Point<V>;
  using M::exponential;
  using M::load;
  using M::padded;
  using M::store;

  struct Pair { T u[3], distance, inverse; Switch<T> close; };
  // Of one vector of each of L triples: its direction, its tangent and what follows from them
  struct Side { P u, rate; V along, inverse, f, slope, bend; };

  const Call &call;
  const UncvAev &aev;
  const Index radial_lanes, angle_lanes, angular_at, row_width;  // blocks are padded to L
  std::vector<T> shifts, cosines, sines, rows, bells, angles, shells, sums;
  std::vector<Pair> table;
  std::vector<int32_t> near;
  int32_t one[CHUNK], two[CHUNK];
  Index slot[CHUNK];
  T cosine[CHUNK], along[2][CHUNK][3];

 public:
  explicit Worker(const Call &c)
      : call(c), aev(c.aev), radial_lanes(padded(aev.radial)), angle_lanes(padded(aev.angles)),
        angular_at(aev.species * radial_lanes),
        row_width(angular_at + aev.species * (aev.species + 1) / 2 * aev.shells * angle_lanes),
        shifts(filled(aev.radial_shifts, aev.radial)), cosines(filled(aev.angle_cos, aev.angles)),
        sines(filled(aev.angle_sin, aev.angles)), rows(size_t(c.count * row_width)),
        bells(size_t(2 * radial_lanes)), angles(size_t(3 * angle_lanes * CHUNK)),
        shells(size_t(3 * aev.shells * CHUNK)), sums(SUMS * CHUNK) {}

  void run(Index first, Index last) {
    for (Index atom = first; atom < last; ++atom) {
      const Index start = call.pairs.begin[atom], number = call.pairs.begin[atom + 1] - start;
      open_rows(atom);
      table.resize(size_t(number));
      near.clear();
      for (Index p = 0; p < number; ++p) {
        radial(p, start + p);
        // A distance that is not a number counts as near.
        if (!(table[p].distance >= T(aev.angular_cutoff))) near.push_back(int32_t(p));
      }
      angular(start);
    }
  }

 private:
  static std::vector<T> filled(const double *from, Index n) {
    std::vector<T> to(size_t(padded(n)), T(0));
    for (Index i = 0; i < n; ++i) to[i] = T(from[i]);
    return to;
  }

  // The centre's rows of all cotangents, each block padded with zeros.
  void open_rows(Index atom) {
    const Index kinds = aev.species * (aev.species + 1) / 2;
    const Index width = aev.species * aev.radial + kinds * aev.shells * aev.angles;
    T *to = rows.data();
    for (Index k = 0; k < call.count; ++k) {
      const T *from = static_cast<const T *>(call.cotangents);
      from += (k * call.pairs.atoms + atom) * width;
      for (Index block = 0; block < aev.species + kinds * aev.shells; ++block) {
        const Index size = block < aev.species ? aev.radial : aev.angles;
        std::memcpy(to, from, size_t(size) * sizeof(T));
        from += size;
        to += padded(size);
      }
    }
  }

  void radial(Index p, Index pair) {
    const T *v = static_cast<const T *>(call.vectors) + 3 * pair;
    const T d = std::sqrt(v[0] * v[0] + v[1] * v[1] + v[2] * v[2]), over = 1 / d;
    table[p] = {{v[0] * over, v[1] * over, v[2] * over}, d, over, Switch<T>(d, aev.angular_cutoff)};
    const Switch<T> wide(d, aev.radial_cutoff);
    const T eta = T(aev.radial_eta), *u = table[p].u;
    for (Index r = 0; r < radial_lanes; r += L) {
      const V offset = d - load(&shifts[r]), steep = T(-2) * eta * offset;
      const V bell = T(0.25) * exponential(-eta * offset * offset);
      store(&bells[r], bell * (wide.slope + wide.value * steep));
      store(&bells[radial_lanes + r], bell * (wide.bend + T(2) * wide.slope * steep +
                                              wide.value * (steep * steep - T(2) * eta)));
    }
    const T *g = &rows[call.pairs.other[pair] * radial_lanes];
    for (Index k = 0; k < call.count; ++k, g += row_width) {
      V slopes{}, bends{};
      for (Index r = 0; r < radial_lanes; r += L) {
        slopes += load(g + r) * load(&bells[r]);
        bends += load(g + r) * load(&bells[radial_lanes + r]);
      }
      const T level = M::sum(slopes) * over, *w = tangent(k, pair);
      const T length = u[0] * w[0] + u[1] * w[1] + u[2] * w[2];
      const T own = (M::sum(bends) - level) * length;
      for (int x = 0; x < 3; ++x) result(k, pair)[x] = own * u[x] + level * w[x];
    }
  }

  INLINE const T *tangent(Index k, Index pair) const {
    return static_cast<const T *>(call.tangents) + 3 * (k * call.pairs.number + pair);
  }
  INLINE T *result(Index k, Index pair) const {
    return static_cast<T *>(call.out) + 3 * (k * call.pairs.number + pair);
  }

  // Chunks of the pairs of near neighbours.
  void angular(Index start) {
    const Index *other = call.pairs.other + start;
    Index number = 0;
    for (size_t i = 0; i < near.size(); ++i)
      for (size_t j = i + 1; j < near.size(); ++j) {
        const Index kind = aev.species_pair[aev.species * other[near[i]] + other[near[j]]];
        one[number] = near[i];
        two[number] = near[j];
        slot[number] = angular_at + kind * aev.shells * angle_lanes;
        if (++number == CHUNK) { triples(number, start); number = 0; }
      }
    if (number) triples(number, start);
  }

  void triples(Index number, Index start) {
    for (Index t = number; t < padded(number); ++t) { one[t] = one[0]; two[t] = two[0]; }
    for (Index t = 0; t < padded(number); ++t) functions(t, table[one[t]], table[two[t]]);
    for (Index k = 0; k < call.count; ++k) {
      for (Index t = 0; t < number; t += L) {
        sum_up(t, std::min<Index>(t + L, number), &rows[k * row_width]);
        bend(t, k, start);
      }
      for (Index t = 0; t < number; ++t)
        for (int x = 0; x < 3; ++x) {
          result(k, start + one[t])[x] += along[0][t][x];
          result(k, start + two[t])[x] += along[1][t][x];
        }
    }
  }

  // A and B of a triple with their first and second derivatives.
  INLINE void functions(Index t, const Pair &p, const Pair &q) {
    const T c = cosine[t] = T(0.95) * (p.u[0] * q.u[0] + p.u[1] * q.u[1] + p.u[2] * q.u[2]);
    const T s = std::sqrt(1 - c * c), tangent = c / s, over = 1 / (s * s * s), zeta = T(aev.zeta);
    T *to = &angles[3 * angle_lanes * t];
    for (Index z = 0; z < angle_lanes; z += L, to += 3 * L) {
      const V cz = load(&cosines[z]), sz = load(&sines[z]);
      const V half = T(0.5) + T(0.5) * (c * cz + s * sz), slope = T(0.5) * (cz - tangent * sz);
      const V sharp = M::to_power(half, aev.zeta - 1, 1);  // half^(zeta - 2)
      store(to, sharp * half * half);
      store(to + L, zeta * sharp * half * slope);
      store(to + 2 * L, zeta * sharp * ((zeta - 1) * slope * slope - T(0.5) * half * sz * over));
    }
    const T eta = T(aev.angular_eta), mean = T(0.5) * (p.distance + q.distance);
    for (Index a = 0; a < aev.shells; ++a) {
      const T offset = mean - T(aev.angular_shifts[a]), steep = -2 * eta * offset;
      const T bell = 2 * std::exp(-eta * offset * offset);
      T *shell = &shells[3 * (aev.shells * t + a)];
      shell[0] = bell;
      shell[1] = bell * steep;
      shell[2] = bell * (steep * steep - 2 * eta);
    }
  }

  // The six sums over shells and angles of the triples from first to end, at most L.
  INLINE void sum_up(Index first, Index end, const T *row) {
    V total[SUMS][L] = {};
    for (Index t = first; t < end; ++t) {
      const T *angle = &angles[3 * angle_lanes * t];
      for (Index z = 0; z < angle_lanes; z += L, angle += 3 * L) {
        V plain{}, sloped{}, bent{};
        const T *g = row + slot[t] + z, *shell = &shells[3 * aev.shells * t];
        for (Index a = 0; a < aev.shells; ++a, g += angle_lanes, shell += 3) {
          plain += shell[0] * load(g);
          sloped += shell[1] * load(g);
          bent += shell[2] * load(g);
        }
        const V value = load(angle), slope = load(angle + L), bend = load(angle + 2 * L);
        total[S00][t - first] += plain * value;
        total[S10][t - first] += plain * slope;
        total[S20][t - first] += plain * bend;
        total[S01][t - first] += sloped * value;
        total[S11][t - first] += sloped * slope;
        total[S02][t - first] += bent * value;
      }
    }
    for (int n = 0; n < SUMS; ++n) store(&sums[n * CHUNK + first], M::sums(total[n]));
  }

  // The change along the tangents of what L triples from t on give each of their two vectors.
  INLINE void bend(Index t, Index k, Index start) {
    const Side one = side(this->one + t, k, start), two = side(this->two + t, k, start);
    V s[SUMS];
    for (int n = 0; n < SUMS; ++n) s[n] = load(&sums[n * CHUNK + t]);
    const V c = load(cosine + t), both = one.f * two.f;
    const V turned = T(0.95) * (one.rate.dot(two.u) + one.u.dot(two.rate));  // rate of c
    const V level = both * s[S10];
    const V halves = T(0.5) * both * s[S01], quarter = T(0.25) * both * s[S02];
    const V mixed = one.slope * two.slope * s[S00] + quarter +
                    T(0.5) * (one.slope * two.f + one.f * two.slope) * s[S01];
    const auto by_both = [&](const Side &a, const Side &b) {  // by c and the distance of a
      return a.slope * b.f * s[S10] + T(0.5) * both * s[S11];
    };
    const V by1 = by_both(one, two), by2 = by_both(two, one);
    const V levelled = both * s[S20] * turned + by1 * one.along + by2 * two.along;
    const auto give = [&](const Side &a, const Side &b, V by, T (*to)[3]) {
      const V push = a.slope * b.f * s[S00] + halves;
      const V own = a.bend * b.f * s[S00] + a.slope * b.f * s[S01] + quarter;
      const V pushed = by * turned + own * a.along + mixed * b.along;
      const P away = (b.u * (V{} + T(0.95)) - a.u * c) * a.inverse;  // gradient of c
      const P moved = (b.rate * (V{} + T(0.95)) - a.u * turned - a.rate * c - away * a.along);
      const P out = a.u * pushed + a.rate * push + away * levelled + moved * (a.inverse * level);
      for (int l = 0; l < L; ++l) { to[l][0] = out.x[l]; to[l][1] = out.y[l]; to[l][2] = out.z[l]; }
    };
    give(one, two, by1, along[0] + t);
    give(two, one, by2, along[1] + t);
  }

  INLINE Side side(const int32_t *which, Index k, Index start) const {
    T of[10][L];
    for (int l = 0; l < L; ++l) {
      const Pair &p = table[which[l]];
      const T *v = tangent(k, start + which[l]);
      for (int x = 0; x < 3; ++x) { of[x][l] = p.u[x]; of[3 + x][l] = v[x]; }
      of[6][l] = p.inverse;
      of[7][l] = p.close.value; of[8][l] = p.close.slope; of[9][l] = p.close.bend;
    }
    const P w{load(of[3]), load(of[4]), load(of[5])};
    Side s{{load(of[0]), load(of[1]), load(of[2])}, {}, {}, load(of[6]), load(of[7]), load(of[8]),
           load(of[9])};
    s.along = s.u.dot(w);
    s.rate = (w - s.u * s.along) * s.inverse;
    return s;
  }
};

}  // namespace

extern "C" {

// H v (K, P, 3) of cotangents (K, N, D) and tangents (K, P, 3); statuses as of uncv_aev.
int uncv_curve(const UncvAev *aev, int is_double, int64_t atoms, int64_t pairs, int64_t count,
               const int64_t *begin, const int64_t *other, const void *vectors,
               const void *cotangents, const void *tangents, void *out, int64_t threads) {
  const Call call{*aev, {atoms, pairs, begin, other}, count, vectors, cotangents, tangents, out};
  if (!call.pairs.valid(aev->species)) return BAD_PAIRS;
  return share_atoms(call.pairs, threads, [&](Index first, Index last) {
    if (is_double) Worker<double, DOUBLES>(call).run(first, last);
    else Worker<float, FLOATS>(call).run(first, last);
  });
}
}
