// Which atoms see each other, by bins as wide as the cutoff: time in proportion to the atoms.
//
// Frames may be periodic in any directions, cells of any shape and smaller than the cutoff. The
// pairs are those of neighbours.py, in the same order: by centre, other atom, image.

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <memory>
#include <new>
#include <vector>

// Frames of atoms; neighbour_list.py fills the same structure.
struct UncvFrames {
  int64_t frames, atoms;
  const double *positions, *cells, *inverses;  // (F, A, 3), (F, 3, 3): unit vectors where not periodic
  const uint8_t *periodic;                     // (F, 3)
  const int64_t *species;                      // (F, A), below 0 on padding
};

namespace {

using Index = int64_t;
using Vector = std::array<double, 3>;
using Whole = std::array<Index, 3>;

struct Found {
  Index other;
  Whole image;
  double distance;
};

struct List {
  std::vector<Index> count;  // pairs of each atom
  std::vector<Found> pairs;
};

Vector times(const double *v, const double *matrix) {
  Vector out{};
  for (int a = 0; a < 3; ++a)
    for (int b = 0; b < 3; ++b) out[b] += v[a] * matrix[3 * a + b];
  return out;
}

// One frame: its atoms in bins along the cell vectors.
class Frame {
  const UncvFrames &of;
  const Index first;
  const double *cell;
  const uint8_t *periodic;
  const double limit;
  std::vector<Vector> scaled, wrapped;
  std::vector<Whole> home, place;
  std::vector<std::vector<Index>> bins;
  Whole number{1, 1, 1}, reach{};

 public:
  Frame(const UncvFrames &frames, Index frame, double cutoff)
      : of(frames), first(frame * of.atoms), cell(of.cells + 9 * frame),
        periodic(of.periodic + 3 * frame), limit(cutoff * cutoff), scaled(size_t(of.atoms)),
        wrapped(size_t(of.atoms)), home(size_t(of.atoms)), place(size_t(of.atoms)) {
    wrap(of.inverses + 9 * frame);
    cut(of.inverses + 9 * frame, cutoff);
    for (Index i = 0; i < of.atoms; ++i)
      if (real(i)) bins[size_t(bin(place[size_t(i)]))].push_back(i);
  }

  void list(Index i, std::vector<Found> &into) const {
    if (!real(i)) return;
    const size_t begin = into.size();
    Whole d;
    for (d[0] = -reach[0]; d[0] <= reach[0]; ++d[0])
      for (d[1] = -reach[1]; d[1] <= reach[1]; ++d[1])
        for (d[2] = -reach[2]; d[2] <= reach[2]; ++d[2]) look(i, d, into);
    std::sort(into.begin() + Index(begin), into.end(), [](const Found &a, const Found &b) {
      return a.other != b.other ? a.other < b.other : a.image < b.image;
    });
  }

 private:
  // Atoms, without those whose position is not a number: nothing is near these.
  bool real(Index i) const {
    const Vector &x = wrapped[size_t(i)];
    return of.species[first + i] >= 0 && std::isfinite(x[0] + x[1] + x[2]);
  }

  void wrap(const double *inverse) {
    for (size_t i = 0; i < size_t(of.atoms); ++i) {
      const double *x = of.positions + 3 * (first + Index(i));
      scaled[i] = times(x, inverse);
      Vector away{};
      for (int a = 0; a < 3; ++a)
        if (periodic[a] && std::isfinite(scaled[i][a])) away[a] = std::floor(scaled[i][a]);
      const Vector moved = times(away.data(), cell);
      for (int a = 0; a < 3; ++a) {
        home[i][a] = Index(away[a]);
        scaled[i][a] -= away[a];
        wrapped[i][a] = x[a] - moved[a];
      }
    }
  }

  // Bins at least as wide as the cutoff, but not many more than atoms.
  void cut(const double *inverse, double cutoff) {
    const double most = 2 * std::cbrt(double(of.atoms)) + 1;
    for (int a = 0; a < 3; ++a) {
      double low = 0, width = 1, square = 0;
      for (int b = 0; b < 3; ++b) square += inverse[3 * b + a] * inverse[3 * b + a];
      const double across = cutoff * std::sqrt(square);  // the cutoff in scaled coordinates
      if (!periodic[a]) span(a, low, width);
      number[a] = Index(std::max(1.0, std::min(most, std::floor(width / across))));
      reach[a] = Index(std::ceil(across * double(number[a]) / width));
      if (!periodic[a]) reach[a] = std::min(reach[a], number[a] - 1);
      for (size_t i = 0; i < size_t(of.atoms); ++i)
        if (real(Index(i)))
          place[i][a] = std::clamp(Index((scaled[i][a] - low) / width * double(number[a])),
                                   Index(0), number[a] - 1);
    }
    bins.resize(size_t(number[0] * number[1] * number[2]));
  }

  void span(int a, double &low, double &width) const {
    double least = INFINITY, largest = -INFINITY;
    for (Index i = 0; i < of.atoms; ++i)
      if (real(i)) {
        least = std::min(least, scaled[size_t(i)][a]);
        largest = std::max(largest, scaled[size_t(i)][a]);
      }
    if (largest <= least || !std::isfinite(largest - least)) return;
    low = least;
    width = largest - least;
  }

  Index bin(const Whole &at) const { return (at[0] * number[1] + at[1]) * number[2] + at[2]; }

  void look(Index i, const Whole &d, std::vector<Found> &into) const {
    Whole at, image{};
    for (int a = 0; a < 3; ++a) {
      at[a] = place[size_t(i)][a] + d[a];
      if (periodic[a]) {
        image[a] = Index(std::floor(double(at[a]) / double(number[a])));
        at[a] -= image[a] * number[a];
      } else if (at[a] < 0 || at[a] >= number[a]) {
        return;
      }
    }
    const Vector steps{double(image[0]), double(image[1]), double(image[2])};
    const Vector moved = times(steps.data(), cell), &here = wrapped[size_t(i)];
    const bool itself = image == Whole{};
    for (const Index j : bins[size_t(bin(at))]) {
      double square = 0;
      for (int a = 0; a < 3; ++a) {
        const double part = wrapped[size_t(j)][a] - here[a] + moved[a];
        square += part * part;
      }
      if (!(square < limit) || (itself && i == j)) continue;
      Found found{first + j, image, std::sqrt(square)};
      for (int a = 0; a < 3; ++a) found.image[a] += home[size_t(i)][a] - home[size_t(j)][a];
      into.push_back(found);
    }
  }
};

}  // namespace

extern "C" {

// The number of directed pairs closer than the cutoff, -1 if memory ran out. They are kept in
// `list` for uncv_neighbours_take, which must follow.
int64_t uncv_neighbours(const UncvFrames *of, double cutoff, void **list) {
  try {
    auto made = std::make_unique<List>();
    for (Index frame = 0; frame < of->frames; ++frame) {
      const Frame own(*of, frame, cutoff);
      for (Index i = 0; i < of->atoms; ++i) {
        const size_t before = made->pairs.size();
        own.list(i, made->pairs);
        made->count.push_back(Index(made->pairs.size() - before));
      }
    }
    const Index number = Index(made->pairs.size());
    *list = made.release();
    return number;
  } catch (const std::bad_alloc &) {
    return -1;
  }
}

// Writes the pairs (P), unless null the whole cell vectors between them (P, 3), where those of
// each atom begin (N + 1), and distances (P); gives the list's memory back.
void uncv_neighbours_take(void *list, int64_t *centre, int64_t *other, double *shift,
                          int64_t *begin, double *distance) {
  List *made = static_cast<List *>(list);
  Index p = 0;
  *begin = 0;
  for (size_t i = 0; i < made->count.size(); ++i) {
    for (const Index end = p + made->count[i]; p < end; ++p) {
      const Found &pair = made->pairs[size_t(p)];
      centre[p] = Index(i);
      other[p] = pair.other;
      distance[p] = pair.distance;
      for (int a = 0; shift != nullptr && a < 3; ++a) shift[3 * p + a] = double(pair.image[a]);
    }
    begin[i + 1] = p;
  }
  delete made;
}
}
