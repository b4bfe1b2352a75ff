// Runs an exported file. This header knows neither torch nor PLUMED.

#ifndef UNCV_MODEL_H
#define UNCV_MODEL_H

#include "ModelFile.h"

#include <array>
#include <memory>
#include <string>
#include <vector>

namespace uncv {

/// What can be asked of a model.
enum class Quantity { uncertainty, energy, largestAtomic };

/// A value in eV, eV/Å or without unit, and its derivatives per Å.
struct Answer {
  double value = 0.0;
  std::vector<double> byPositions;     ///< 3A numbers, atom by atom; empty if not asked for
  std::array<double, 9> byCell{};      ///< of the cell vectors, row by row; zero without a cell
};

/// An exported collective variable, loaded on a device.
class Model {
public:
  /// \param device "cpu" or "cuda"
  Model(const std::string &path, const std::string &device);
  ~Model();

  const Promise &promise() const;
  const std::string &path() const;

  /// Evaluate once and answer several questions.
  /// \param positions 3A numbers, Å
  /// \param cell vectors as rows, Å; zeros without a cell
  /// \param derivatives whether the answers come with them (one backward pass for each answer)
  std::vector<Answer> evaluate(const std::vector<Quantity> &asked,
                               const std::vector<double> &positions,
                               const std::array<double, 9> &cell, bool derivatives);

  /// Set the number of threads of torch, in the whole process.
  static void setThreads(int threads);

private:
  struct Loaded;
  std::unique_ptr<Loaded> loaded;
};

}  // namespace uncv

#endif
