// What kernel.cpp and curvature.cpp share: the descriptor's settings, and threads by atoms.
#pragma once

#include <algorithm>
#include <atomic>
#include <cmath>
#include <new>
#include <system_error>
#include <thread>
#include <vector>

#include "vectors.h"

// Settings of the descriptor; kernel.py fills the same structure.
struct UncvAev {
  int64_t species, radial, shells, angles;
  double radial_cutoff, angular_cutoff, radial_eta, angular_eta, zeta;
  const double *radial_shifts, *angular_shifts, *angle_cos, *angle_sin;
  const int64_t *species_pair;
};

namespace uncv {

// Blocks of a descriptor are eight or sixteen numbers wide, so wider vectors would be half empty.
constexpr int FLOATS = MOST_FLOATS < 8 ? MOST_FLOATS : 8, DOUBLES = FLOATS / 2;

// Three vectors of numbers: points of L pairs or triples.
template <class V> struct Point {
  V x, y, z;
  INLINE V dot(const Point &o) const { return x * o.x + y * o.y + z * o.z; }
  INLINE Point operator*(V factor) const { return {x * factor, y * factor, z * factor}; }
  INLINE Point operator+(const Point &o) const { return {x + o.x, y + o.y, z + o.z}; }
  INLINE Point operator-(const Point &o) const { return {x - o.x, y - o.y, z - o.z}; }
};

// A switch to zero at a cutoff, cos(x)^2 with x = pi/2 distance/cutoff, and its derivatives.
template <class T> struct Switch {
  T value = 0, slope = 0, bend = 0;

  Switch() = default;
  Switch(T distance, double cutoff) {
    if (distance >= T(cutoff)) return;
    const T turn = T(M_PI / cutoff), s = std::sin(turn * distance), c = std::cos(turn * distance);
    value = T(0.5) + T(0.5) * c;
    slope = T(-0.5) * turn * s;
    bend = T(-0.5) * turn * turn * c;
  }
};

// Statuses of the calls that are not zero.
constexpr int BAD_PAIRS = 1, OUT_OF_MEMORY = 2;

// Pairs sorted by their centre: those of atom i are begin[i] to begin[i + 1]; other: elements.
struct Pairs {
  Index atoms, number;
  const Index *begin, *other;

  bool valid(Index species) const {
    if (begin[0] != 0 || begin[atoms] != number) return false;
    bool good = true;
    for (Index i = 0; i < atoms; ++i) good &= begin[i] <= begin[i + 1];
    for (Index p = 0; p < number; ++p) good &= uint64_t(other[p]) < uint64_t(species);
    return good;
  }
};

// Calls work(first, last) for blocks of atoms with about equal numbers of pairs, one thread each;
// the last in this thread. Returns the status.
template <class Work> int share_atoms(const Pairs &pairs, Index threads, const Work &work) {
  constexpr Index PAIRS_PER_THREAD = 2000;  // below, starting a thread costs more than it brings
  std::atomic<bool> failed{false};
  const auto guarded = [&](Index first, Index last) {
    const TinyIsZero here;
    try {
      work(first, last);
    } catch (const std::bad_alloc &) {
      failed = true;
    }
  };
  try {
    threads = std::min(threads, pairs.number / PAIRS_PER_THREAD + 1);
    std::vector<std::thread> team;
    team.reserve(size_t(threads));
    Index first = 0;
    for (Index n = 1; n < threads; ++n) {
      Index last = first;
      while (last < pairs.atoms && pairs.begin[last] < pairs.number * n / threads) ++last;
      try { team.emplace_back(guarded, first, last); } catch (const std::system_error &) { break; }
      first = last;
    }
    guarded(first, pairs.atoms);
    for (std::thread &member : team) member.join();
  } catch (const std::bad_alloc &) {
    return OUT_OF_MEMORY;
  }
  return failed ? OUT_OF_MEMORY : 0;
}

}  // namespace uncv
