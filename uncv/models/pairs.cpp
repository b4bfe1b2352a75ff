// Vectors between neighbours, and what forces along them do to atoms and to a strain.
//
// Positions and sums are double, whatever the type of the vectors: differences of large numbers,
// and sums of many small ones, keep their digits.

#include <algorithm>
#include <cstdint>

// Neighbours of a batch of frames; pairs.py fills the same structure.
struct UncvPairs {
  int64_t atoms, atoms_in_frame;
  const int64_t *begin, *other;  // the pairs of atom i are begin[i] to begin[i + 1]
  const double *shift;           // whole cell vectors (P, 3), or null where nothing is periodic
};

namespace {

using Index = int64_t;

template <class T>
void to_vectors(const UncvPairs &of, const double *positions, const double *cells, T *out) {
  for (Index i = 0; i < of.atoms; ++i) {
    const double *here = positions + 3 * i;
    const double *cell = cells + 9 * (i / of.atoms_in_frame);
    for (Index p = of.begin[i]; p < of.begin[i + 1]; ++p) {
      const double *there = positions + 3 * of.other[p];
      for (int a = 0; a < 3; ++a) {
        double v = there[a] - here[a];
        if (of.shift != nullptr)
          for (int b = 0; b < 3; ++b) v += of.shift[3 * p + b] * cell[3 * b + a];
        out[3 * p + a] = T(v);
      }
    }
  }
}

// One set of gradients by the vectors: to (N, 3) and, unless null, (F, 3, 3).
template <class T>
void gather(const UncvPairs &of, const T *vectors, const T *gradients, double *by_positions,
            double *by_strain) {
  std::fill(by_positions, by_positions + 3 * of.atoms, 0.0);
  if (by_strain != nullptr)
    std::fill(by_strain, by_strain + 9 * (of.atoms / of.atoms_in_frame), 0.0);
  for (Index i = 0; i < of.atoms; ++i) {
    double pull[3] = {}, turn[9] = {};
    for (Index p = of.begin[i]; p < of.begin[i + 1]; ++p) {
      const T *v = vectors + 3 * p, *g = gradients + 3 * p;
      double *there = by_positions + 3 * of.other[p];
      for (int a = 0; a < 3; ++a) {
        const double along = g[a];
        there[a] += along;
        pull[a] += along;
        for (int b = 0; b < 3; ++b) turn[3 * a + b] += along * double(v[b]);
      }
    }
    for (int a = 0; a < 3; ++a) by_positions[3 * i + a] -= pull[a];
    if (by_strain == nullptr) continue;
    double *to = by_strain + 9 * (i / of.atoms_in_frame);
    for (int a = 0; a < 3; ++a)
      for (int b = 0; b < 3; ++b) to[3 * a + b] += 0.5 * (turn[3 * a + b] + turn[3 * b + a]);
  }
}

template <class T>
void gather_all(const UncvPairs &of, Index count, const void *vectors, const void *gradients,
                double *by_positions, double *by_strain) {
  const Index pairs = of.begin[of.atoms];
  const Index frames = by_strain == nullptr ? 0 : of.atoms / of.atoms_in_frame;
  const T *from = static_cast<const T *>(gradients);
  for (Index k = 0; k < count; ++k, by_positions += 3 * of.atoms, by_strain += 9 * frames)
    gather(of, static_cast<const T *>(vectors), from + 3 * pairs * k, by_positions, by_strain);
}

}  // namespace

extern "C" {

// Vectors (P, 3) of positions (N, 3) in cells (F, 3, 3) with vectors as rows.
void uncv_pair_vectors(const UncvPairs *of, int is_double, const double *positions,
                       const double *cells, void *out) {
  if (is_double) to_vectors(*of, positions, cells, static_cast<double *>(out));
  else to_vectors(*of, positions, cells, static_cast<float *>(out));
}

// From K gradients by the vectors (K, P, 3) to those by the positions (K, N, 3) and, unless null,
// by a symmetric strain of each frame (K, F, 3, 3).
void uncv_pair_gather(const UncvPairs *of, int is_double, int64_t count, const void *vectors,
                      const void *gradients, double *by_positions, double *by_strain) {
  if (is_double) gather_all<double>(*of, count, vectors, gradients, by_positions, by_strain);
  else gather_all<float>(*of, count, vectors, gradients, by_positions, by_strain);
}
}
