// Boxed calls: finds an operator by its schema and converts arguments by the schema's types. libtorch's dispatcher adds
// autograd and selects the device. This file reaches all of about 3,500 operators.
#include "addon.h"

#include <ATen/core/List.h>
#include <ATen/core/function_schema.h>
#include <ATen/core/jit_type.h>
#include <c10/core/Device.h>
#include <c10/core/Layout.h>
#include <c10/core/MemoryFormat.h>
#include <c10/core/ScalarType.h>

#include <cmath>
#include <stdexcept>

namespace graft {
namespace {

using c10::IValue;
using c10::TypeKind;

// Strings represent the enumerations that schemas carry as int.
const std::unordered_map<std::string, int64_t>& enum_values() {
  auto type = [](at::ScalarType t) { return static_cast<int64_t>(t); };
  auto format = [](at::MemoryFormat f) { return static_cast<int64_t>(f); };
  static const std::unordered_map<std::string, int64_t> values = {
      {"f32", type(at::kFloat)},      {"bf16", type(at::kBFloat16)},
      {"f16", type(at::kHalf)},       {"f64", type(at::kDouble)},
      {"i64", type(at::kLong)},       {"i32", type(at::kInt)},
      {"i16", type(at::kShort)},      {"i8", type(at::kChar)},
      {"u8", type(at::kByte)},        {"bool", type(at::kBool)},
      {"strided", static_cast<int64_t>(at::kStrided)},
      {"contiguous", format(at::MemoryFormat::Contiguous)},
      {"preserve", format(at::MemoryFormat::Preserve)},
      {"channels_last", format(at::MemoryFormat::ChannelsLast)}};
  return values;
}

[[noreturn]] void wrong(const c10::Argument& arg, const std::string& got) {
  throw std::runtime_error("argument '" + arg.name() + "' wants " + arg.real_type()->str() + ", got " + got);
}

const char* describe(Tag tag) {
  static const char* names[] = {"null", "undefined", "a tensor", "a number", "a boolean", "a string", "a list"};
  return tag >= kNone && tag <= kList ? names[tag] : "something else";
}

int64_t to_int(double value, const c10::Argument& arg) {
  if (!(std::trunc(value) == value) || std::abs(value) > 9007199254740992.0)
    wrong(arg, std::to_string(value) + ", which is not an exact integer");
  return static_cast<int64_t>(value);
}

IValue to_number(double value) {
  // An integer stays an integer, as in Python, so that `x + 1` keeps an integer tensor's dtype. Negative zero,
  // infinities and NaN are floats.
  if (std::trunc(value) == value && std::abs(value) <= 9007199254740992.0 && !(value == 0 && std::signbit(value)))
    return IValue(static_cast<int64_t>(value));
  return IValue(value);
}

bool is_int(TypeKind kind) { return kind == TypeKind::IntType || kind == TypeKind::SymIntType; }

class Converter {
 public:
  Converter(Addon& addon, Reader& in) : addon_(addon), in_(in) {}

  IValue read(const c10::TypePtr& declared, const c10::Argument& arg) {
    c10::TypePtr type = declared;
    if (type->kind() == TypeKind::OptionalType) {
      if (in_.peek() == kNone) {
        in_.tag();
        return IValue();
      }
      type = type->castRaw<c10::OptionalType>()->getElementType();
    }
    if (type->kind() == TypeKind::ListType)
      return read_list(type->castRaw<c10::ListType>()->getElementType(), arg);
    return read_scalar(type->kind(), arg);
  }

 private:
  IValue read_scalar(TypeKind kind, const c10::Argument& arg) {
    const Tag tag = in_.tag();
    switch (kind) {
      case TypeKind::TensorType:
        if (tag == kTensor) return IValue(addon_.get(in_.next()));
        break;
      case TypeKind::IntType:
      case TypeKind::SymIntType:
        if (tag == kNumber) return IValue(to_int(in_.next(), arg));
        if (tag == kString) return IValue(enum_value(arg));
        break;
      case TypeKind::FloatType:
        if (tag == kNumber) return IValue(in_.next());
        break;
      case TypeKind::NumberType:
        if (tag == kNumber) return to_number(in_.next());
        if (tag == kBool) return IValue(in_.next() != 0);
        break;
      case TypeKind::BoolType:
      case TypeKind::SymBoolType:
        if (tag == kBool) return IValue(in_.next() != 0);
        break;
      case TypeKind::StringType:
        if (tag == kString) return IValue(addon_.text(in_.next()));
        break;
      case TypeKind::DeviceObjType:
        if (tag == kString) return IValue(c10::Device(addon_.text(in_.next())));
        break;
      default:
        break;
    }
    wrong(arg, describe(tag));
  }

  int64_t enum_value(const c10::Argument& arg) {
    const std::string& name = addon_.text(in_.next());
    const auto found = enum_values().find(name);
    if (found == enum_values().end()) wrong(arg, "'" + name + "'");
    return found->second;
  }

  // A single number for a fixed-size list is repeated, as in Python (stride: 2).
  IValue read_list(const c10::TypePtr& element, const c10::Argument& arg) {
    const TypeKind kind = element->kind();
    if (in_.peek() == kNumber && is_int(kind)) {
      in_.tag();
      return IValue(c10::List<int64_t>(std::vector<int64_t>(arg.N().value_or(1), to_int(in_.next(), arg))));
    }
    if (in_.peek() != kList) wrong(arg, describe(in_.tag()));
    in_.tag();
    const size_t n = in_.count();
    if (is_int(kind)) return fill(c10::List<int64_t>(), n, element, arg, [](IValue v) { return v.toInt(); });
    switch (kind) {
      case TypeKind::TensorType:
        return fill(c10::List<at::Tensor>(), n, element, arg, [](IValue v) { return std::move(v).toTensor(); });
      case TypeKind::FloatType:
        return fill(c10::List<double>(), n, element, arg, [](IValue v) { return v.toDouble(); });
      case TypeKind::BoolType:
        return fill(c10::List<bool>(), n, element, arg, [](IValue v) { return v.toBool(); });
      case TypeKind::NumberType:
        return fill(c10::List<at::Scalar>(), n, element, arg, [](IValue v) { return v.toScalar(); });
      case TypeKind::OptionalType:
        return fill(c10::List<std::optional<at::Tensor>>(), n, element, arg, [](IValue v) {
          return v.isNone() ? std::optional<at::Tensor>() : std::optional<at::Tensor>(std::move(v).toTensor());
        });
      default:
        wrong(arg, "a list, which this binding cannot convert");
    }
  }

  template <typename T, typename Take>
  IValue fill(c10::List<T> list, size_t n, const c10::TypePtr& element, const c10::Argument& arg, Take take) {
    list.reserve(n);
    for (size_t i = 0; i < n; i++) list.push_back(take(read(element, arg)));
    return IValue(std::move(list));
  }

  Addon& addon_;
  Reader& in_;
};

torch::jit::Stack read_arguments(Addon& addon, const c10::FunctionSchema& schema, Reader in, size_t given) {
  const auto& arguments = schema.arguments();
  if (given > arguments.size())
    throw std::runtime_error("takes " + std::to_string(arguments.size()) + " arguments, got " + std::to_string(given));
  torch::jit::Stack stack;
  stack.reserve(std::max(arguments.size(), schema.returns().size()));
  Converter convert(addon, in);
  for (size_t i = 0; i < arguments.size(); i++) {
    const c10::Argument& arg = arguments[i];
    const bool absent = i >= given || in.peek() == kDefault;
    if (!absent) {
      stack.push_back(convert.read(arg.type(), arg));
      continue;
    }
    if (i < given) in.tag();
    if (!arg.default_value()) throw std::runtime_error("argument '" + arg.name() + "' is missing");
    stack.push_back(*arg.default_value());
  }
  return stack;
}

// call(op, given, discard) -> doubles written
Napi::Value call(const Napi::CallbackInfo& info) {
  Addon& state = addon(info);
  const Operator& op = state.op(info[0].As<Napi::Number>().Uint32Value());
  const size_t given = info[1].As<Napi::Number>().Uint32Value();
  torch::jit::Stack stack = read_arguments(state, op.handle.schema(), state.reader(), given);
  op.handle.callBoxed(stack);
  const bool discard = info[2].As<Napi::Boolean>().Value();
  return Napi::Number::New(info.Env(), discard ? 0 : static_cast<double>(state.write(std::move(stack))));
}

Napi::Value flush(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(addon(info).flush()));
}

Napi::Value find(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), addon(info).lookup(info[0].As<Napi::String>().Utf8Value()));
}

// schema(op) -> { text, names }: for error messages only
Napi::Value describe_schema(const Napi::CallbackInfo& info) {
  const c10::FunctionSchema& schema = addon(info).op(info[0].As<Napi::Number>().Uint32Value()).handle.schema();
  Napi::Array names = Napi::Array::New(info.Env());
  for (size_t i = 0; i < schema.arguments().size(); i++)
    names.Set(static_cast<uint32_t>(i), Napi::String::New(info.Env(), schema.arguments()[i].name()));
  Napi::Object out = Napi::Object::New(info.Env());
  out.Set("names", names);
  out.Set("text", Napi::String::New(info.Env(), c10::toString(schema)));
  return out;
}

Napi::Value bind(const Napi::CallbackInfo& info) {
  addon(info).bind(info.Env(), info[0].As<Napi::Float64Array>());
  return info.Env().Undefined();
}

Napi::Value intern(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), addon(info).intern(info[0].As<Napi::String>().Utf8Value()));
}

// release(n): frees the n handles at the start of the exchange buffer
Napi::Value release(const Napi::CallbackInfo& info) {
  Addon& state = addon(info);
  Reader in = state.reader();
  const size_t n = info[0].As<Napi::Number>().Uint32Value();
  for (size_t i = 0; i < n; i++) state.release(in.next());
  return info.Env().Undefined();
}

size_t needed(const IValue& value) {
  if (value.isTensor()) return value.toTensor().defined() ? 5 + value.toTensor().dim() : 1;
  if (value.isNone()) return 1;
  if (value.isList()) {
    size_t n = 2;
    for (const IValue& item : value.toListRef()) n += needed(item);
    return n;
  }
  return 2;
}

// -1 = cpu, -2 = meta, else the index of a CUDA device
double device_number(const at::Tensor& tensor) {
  if (tensor.is_cpu()) return -1;
  return tensor.is_meta() ? -2 : tensor.device().index();
}

double* put_value(Addon& addon, const IValue& value, double* out) {
  if (value.isTensor()) {
    const at::Tensor& tensor = value.toTensor();
    if (!tensor.defined()) {
      *out++ = kNone;
      return out;
    }
    *out++ = kTensorOut;
    *out++ = addon.put(tensor);
    *out++ = static_cast<double>(tensor.scalar_type());
    *out++ = device_number(tensor);
    *out++ = static_cast<double>(tensor.dim());
    for (const int64_t size : tensor.sizes()) *out++ = static_cast<double>(size);
    return out;
  }
  if (value.isNone()) {
    *out++ = kNone;
    return out;
  }
  if (value.isList()) {
    const auto list = value.toList();
    *out++ = kList;
    *out++ = static_cast<double>(list.size());
    for (size_t i = 0; i < list.size(); i++) out = put_value(addon, list.get(i), out);
    return out;
  }
  if (value.isBool()) {
    *out++ = kBool;
    *out++ = value.toBool() ? 1 : 0;
    return out;
  }
  if (value.isScalar()) {
    *out++ = kNumber;
    *out++ = value.toScalar().toDouble();
    return out;
  }
  throw std::runtime_error("returns " + value.tagKind() + ", which this binding cannot convert");
}

}  // namespace

uint32_t Addon::lookup(const std::string& name) {
  const auto found = op_index_.find(name);
  if (found != op_index_.end()) return found->second;
  const size_t space = name.find("::");
  const size_t dot = space == std::string::npos ? std::string::npos : name.find('.', space);
  const std::string base = name.substr(0, dot);
  const std::string overload = dot == std::string::npos ? "" : name.substr(dot + 1);
  auto& dispatcher = c10::Dispatcher::singleton();
  const auto handle = dispatcher.findSchema({base, overload});
  if (!handle) {
    std::string overloads;
    for (const auto& known : dispatcher.getAllOpNames())
      if (known.name == base) overloads += (overloads.empty() ? "" : ", ") + c10::toString(known);
    throw std::runtime_error(overloads.empty() ? "no such operator" : "no such overload; there are " + overloads);
  }
  ops_.push_back({*handle, name});
  const uint32_t index = static_cast<uint32_t>(ops_.size() - 1);
  op_index_.emplace(name, index);
  return index;
}

const Operator& Addon::op(uint32_t index) const {
  if (index >= ops_.size()) throw std::runtime_error("no such operator index");
  return ops_[index];
}

size_t Addon::write(std::vector<IValue> values) {
  pending_ = std::move(values);
  return flush();
}

size_t Addon::flush() {
  size_t size = 1;
  for (const IValue& value : pending_) size += needed(value);
  if (size > size_) return size;
  double* out = data_;
  *out++ = static_cast<double>(pending_.size());
  for (const IValue& value : pending_) out = put_value(*this, value, out);
  pending_.clear();
  return size;
}

void init_dispatch(Napi::Object& exports) {
  define<bind>(exports, "bind");
  define<intern>(exports, "intern");
  define<find>(exports, "find");
  define<describe_schema>(exports, "schema");
  define<call>(exports, "call");
  define<flush>(exports, "flush");
  define<release>(exports, "release");
}

}  // namespace graft
