// What an exported file says of itself: read and checked without torch or PLUMED.

#ifndef UNCV_MODEL_FILE_H
#define UNCV_MODEL_FILE_H

#include <stdexcept>
#include <string>
#include <vector>

namespace uncv {

/// A file or a value that cannot be used; the message says what, expected, found and remedy.
class ModelError : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// What the values of a file measure. Energies are in eV, lengths in Å.
enum class Kind { energy, force, dimensionless };

/// The promise of an exported file.
struct Promise {
  std::vector<int> numbers;  ///< atomic numbers in the order of the positions
  bool periodic = false;     ///< whether the atoms fill a cell, periodic in all directions
  bool perAtom = false;      ///< whether each atom has an uncertainty of its own
  bool smooth = false;       ///< whether the gradient of the uncertainty is continuous
  Kind kind = Kind::energy;  ///< of the uncertainty
  std::string dtype;         ///< of the weights; values and derivatives are float64 always
  std::string fingerprint;   ///< of the potential
};

/// Name of the text inside the archive: "key value" lines.
extern const char *const promiseName;

/// Read and check the promise.
/// \param text what the archive holds as promiseName; empty if it holds none
/// \param path of the file, for messages
Promise readPromise(const std::string &text, const std::string &path);

/// Check the atoms of an input against a promise.
/// \param atoms how many atoms the input names
/// \param species their atomic numbers, or empty where the input does not tell
void checkAtoms(const Promise &promise, const std::string &path, std::size_t atoms,
                const std::vector<int> &species);

}  // namespace uncv

#endif
