// Bytes in and out: copies from and to JavaScript, and tensors over a private memory map without a copy.
#include "addon.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <c10/core/ScalarType.h>

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>

namespace graft {
namespace {

// A private, writable map: pages are read from the file and copied only when written.
class Mapping {
 public:
  Mapping(int fd, size_t size) : size_(size) {
    address_ = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    if (address_ == MAP_FAILED) throw std::runtime_error(std::string("mmap failed: ") + std::strerror(errno));
  }
  ~Mapping() { ::munmap(address_, size_); }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  char* at(size_t offset) const { return static_cast<char*>(address_) + offset; }
  size_t size() const { return size_; }
  // Drops pages that lie completely within the range. They are read from the file again when accessed, so they must be
  // unmodified.
  void let_go(size_t offset, size_t size) const {
    const size_t page = ::sysconf(_SC_PAGESIZE);
    const size_t begin = (offset + page - 1) / page * page, end = (offset + size) / page * page;
    if (begin < end) ::madvise(at(begin), end - begin, MADV_DONTNEED);
  }

 private:
  void* address_;
  size_t size_;
};

std::vector<int64_t> shape_argument(const Napi::Value& value) {
  const Napi::Array array = value.As<Napi::Array>();
  std::vector<int64_t> shape(array.Length());
  for (uint32_t i = 0; i < shape.size(); i++) shape[i] = array.Get(i).As<Napi::Number>().Int64Value();
  return shape;
}

at::ScalarType type_argument(const Napi::Value& value) {
  return static_cast<at::ScalarType>(value.As<Napi::Number>().Int32Value());
}

size_t byte_count(const std::vector<int64_t>& shape, at::ScalarType type) {
  size_t bytes = c10::elementSize(type);
  for (const int64_t n : shape)
    if (n < 0 || __builtin_mul_overflow(bytes, static_cast<size_t>(n), &bytes))
      throw std::runtime_error("the shape is negative or too large");
  return bytes;
}

// from_bytes(Uint8Array, shape, scalar type, device) -> handle; copies
Napi::Value from_bytes(const Napi::CallbackInfo& info) {
  const auto bytes = info[0].As<Napi::Uint8Array>();
  const auto shape = shape_argument(info[1]);
  const auto type = type_argument(info[2]);
  const size_t size = byte_count(shape, type);
  if (bytes.ByteLength() != size)
    throw std::runtime_error("the shape needs " + std::to_string(size) + " bytes, got " +
                             std::to_string(bytes.ByteLength()));
  at::Tensor tensor = at::empty(shape, at::TensorOptions().dtype(type));
  if (size > 0) std::memcpy(tensor.mutable_data_ptr(), bytes.Data(), size);
  const c10::Device device(info[3].As<Napi::String>().Utf8Value());
  return Napi::Number::New(info.Env(), addon(info).put(tensor.to(device)));
}

// read(handle, widen) -> ArrayBuffer of the contiguous elements; widen turns half precision into f32
Napi::Value read(const Napi::CallbackInfo& info) {
  at::Tensor tensor = addon(info).get(info[0].As<Napi::Number>().DoubleValue()).detach();
  const auto type = tensor.scalar_type();
  const bool half = type == at::kBFloat16 || type == at::kHalf;
  if (half && info[1].As<Napi::Boolean>().Value()) tensor = tensor.to(at::kFloat);
  tensor = tensor.to(at::kCPU).contiguous();
  auto buffer = Napi::ArrayBuffer::New(info.Env(), tensor.nbytes());
  if (tensor.nbytes() > 0) std::memcpy(buffer.Data(), tensor.const_data_ptr(), tensor.nbytes());
  return buffer;
}

// map_file(fd, size) -> External<shared_ptr<Mapping>>
Napi::Value map_file(const Napi::CallbackInfo& info) {
  const int fd = info[0].As<Napi::Number>().Int32Value();
  const auto size = static_cast<size_t>(info[1].As<Napi::Number>().Int64Value());
  auto* held = new std::shared_ptr<Mapping>(std::make_shared<Mapping>(fd, size));
  return Napi::External<std::shared_ptr<Mapping>>::New(
      info.Env(), held, [](Napi::Env, std::shared_ptr<Mapping>* p) { delete p; });
}

// map_tensor(mapping, offset, shape, scalar type) -> handle. The tensor shares ownership of the map, so it stays valid
// after unmap(). The file is unmapped with its last tensor.
Napi::Value map_tensor(const Napi::CallbackInfo& info) {
  const auto mapping = *info[0].As<Napi::External<std::shared_ptr<Mapping>>>().Data();
  if (!mapping) throw std::runtime_error("the file was closed");
  const auto offset = static_cast<size_t>(info[1].As<Napi::Number>().Int64Value());
  const auto shape = shape_argument(info[2]);
  const auto type = type_argument(info[3]);
  const size_t size = byte_count(shape, type);
  if (offset > mapping->size() || size > mapping->size() - offset)
    throw std::runtime_error("the tensor lies outside the file");
  const auto options = at::TensorOptions().dtype(type);
  at::Tensor tensor;
  if (offset % c10::elementSize(type) == 0) {
    tensor = at::from_blob(mapping->at(offset), shape, [mapping](void*) {}, options);
  } else {  // kernels may use aligned loads
    tensor = at::empty(shape, options);
    if (size > 0) std::memcpy(tensor.mutable_data_ptr(), mapping->at(offset), size);
    mapping->let_go(offset, size);  // the copy suffices
  }
  return Napi::Number::New(info.Env(), addon(info).put(std::move(tensor)));
}

Napi::Value unmap(const Napi::CallbackInfo& info) {
  info[0].As<Napi::External<std::shared_ptr<Mapping>>>().Data()->reset();
  return info.Env().Undefined();
}

}  // namespace

void init_storage(Napi::Object& exports) {
  define<from_bytes>(exports, "fromBytes");
  define<read>(exports, "read");
  define<map_file>(exports, "mapFile");
  define<map_tensor>(exports, "mapTensor");
  define<unmap>(exports, "unmap");
}

}  // namespace graft
