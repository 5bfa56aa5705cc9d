/**
 * libtorch for TypeScript: tensors with explicit lifetimes, autograd, about 3,500 operators through one boxed call, and
 * Graft's own kernels. Importing this loads no native code; the first use does.
 */
export { backward, grad, isGradEnabled, noGrad } from './autograd.js';
export { call } from './call.js';
export type { Argument } from './call.js';
export type { Device } from './device.js';
export { allocatedBytes, device, deviceMemory, setDevice, usedMemory } from './device.js';
export type { DeviceMemory } from './device.js';
export { dtypeSize } from './dtype.js';
export type { Dtype, TypedArray } from './dtype.js';
export { KernelError } from './errors.js';
export * from './ops.js';
export { counterDropout, counterNormal, counterUniform } from './random.js';
export type { RandomKey } from './random.js';
export { Recomputation } from './recompute.js';
export { measureSpeed } from './measure-speed.js';
export type { MeasuredSpeed } from './measure-speed.js';
export { getThreads, kernelsInfo, memory, setThreads, trimMemory } from './runtime.js';
export type { KernelsInfo } from './runtime.js';
export { keep, orFree, tidy } from './scope.js';
export { fromBytes, Tensor } from './tensor.js';
export { mapSafetensors, safetensorsHeader } from './safetensors.js';
export type { MappedSafetensors } from './safetensors.js';
export type { SafetensorsEntry, SafetensorsHeader } from './safetensors-header.js';
