// What cuSOLVERMg hands out, destroyed with its owner. Every call is checked by JAXMG_CUDA.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "device/cuda/check.hpp"
#include "engines/cusolvermg/library.hpp"

namespace jaxmg::cusolvermg {

/// Owns an object of the library that `destroy`, one of its functions, destroys.
template <class Object, auto destroy>
class Owned {
 public:
  explicit Owned(const Library& mg) : mg_(mg) {}
  ~Owned() {
    if (object_ != nullptr) (mg_.*destroy)(object_);
  }
  Owned(const Owned&) = delete;
  Owned& operator=(const Owned&) = delete;

  operator Object() const { return object_; }  // NOLINT(google-explicit-constructor)
  Object* address() { return &object_; }

 private:
  const Library& mg_;
  Object object_ = nullptr;
};

/// The library on a list of GPUs. One that occurs several times counts as so many devices.
class Handle : public Owned<cusolverMgHandle_t, &Library::cusolverMgDestroy> {
 public:
  Handle(const Library& mg, std::vector<int> devices) : Owned(mg) {
    JAXMG_CUDA(mg.cusolverMgCreate(address()));
    JAXMG_CUDA(mg.cusolverMgDeviceSelect(*this, static_cast<int>(devices.size()), devices.data()));
  }
};

/// The GPUs in one row: columns are dealt to them, rows stay whole.
class Grid : public Owned<cudaLibMgGrid_t, &Library::cusolverMgDestroyGrid> {
 public:
  Grid(const Library& mg, const std::vector<int>& devices) : Owned(mg) {
    const std::vector<std::int32_t> ids(devices.begin(), devices.end());
    JAXMG_CUDA(mg.cusolverMgCreateDeviceGrid(address(), 1, static_cast<std::int32_t>(ids.size()),
                                             ids.data(), CUDALIBMG_GRID_MAPPING_COL_MAJOR));
  }
};

/// A rows x cols matrix without gaps, in tiles of `tile` columns.
class Descriptor : public Owned<cudaLibMgMatrixDesc_t, &Library::cusolverMgDestroyMatrixDesc> {
 public:
  Descriptor(const Library& mg, std::int64_t rows, std::int64_t cols, std::int64_t tile,
             cudaDataType type, const Grid& grid)
      : Owned(mg) {
    JAXMG_CUDA(mg.cusolverMgCreateMatrixDesc(address(), rows, cols, rows, tile, type, grid));
  }
};

}  // namespace jaxmg::cusolvermg
