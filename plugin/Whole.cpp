#include "Whole.h"

#include <limits>

namespace uncv {

std::vector<PLMD::Vector> whole(const std::vector<PLMD::Vector> &positions, const PLMD::Pbc &pbc) {
  const auto atoms = positions.size();
  const auto far = std::numeric_limits<double>::max();
  std::vector<PLMD::Vector> result(positions);
  std::vector<PLMD::Vector> bond(atoms);          // from the nearest placed atom
  std::vector<double> distance2(atoms, far);      // to that atom
  std::vector<std::size_t> nearest(atoms, 0);     // that atom
  std::vector<bool> placed(atoms, false);
  for (std::size_t step = 0, last = 0; step + 1 < atoms; ++step) {
    placed[last] = true;
    std::size_t next = atoms;
    for (std::size_t i = 0; i < atoms; ++i) {
      if (placed[i]) {
        continue;
      }
      const auto vector = pbc.distance(positions[last], positions[i]);
      const double found = vector.modulo2();
      if (found < distance2[i]) {
        distance2[i] = found;
        bond[i] = vector;
        nearest[i] = last;
      }
      if (next == atoms || distance2[i] < distance2[next]) {
        next = i;
      }
    }
    result[next] = result[nearest[next]] + bond[next];
    last = next;
  }
  return result;
}

}  // namespace uncv
