// Molecules that the edge of a periodic box has broken.

#ifndef UNCV_WHOLE_H
#define UNCV_WHOLE_H

#include "tools/Pbc.h"
#include "tools/Vector.h"

#include <vector>

namespace uncv {

/// Return the positions with every atom at the image next to the nearest atom placed before it.
///
/// The atoms are placed along the shortest tree that connects them (Prim, Bell Syst. Tech. J. 36,
/// 1389 (1957)), so their order does not matter; bonds must be shorter than half of the box.
std::vector<PLMD::Vector> whole(const std::vector<PLMD::Vector> &positions, const PLMD::Pbc &pbc);

}  // namespace uncv

#endif
