/* The model of OpenCL's tests with its program for CUDA, and the driver that runs it. */
#ifndef EDGECOMP_TESTS_RUNTIME_CUDA_MODEL_H
#define EDGECOMP_TESTS_RUNTIME_CUDA_MODEL_H

#include <stdint.h>

#include "edgecomp/edgecomp.h"
#include "opencl_model.h"

/* What tests/cuda_emulator/emulator.h says of itself. */
typedef struct cuda_emulator {
  void (*configure)(const char *text);
  unsigned (*live)(void);
  unsigned (*calls)(void);
  unsigned (*graphs)(void);
  unsigned (*launches)(void);
  unsigned (*alone)(void);
  unsigned (*instances)(void);
  unsigned (*updates)(void);
} cuda_emulator;
extern cuda_emulator cuda_driver;

/* Before anything else. */
void cuda_driver_load(void);

/* How to configure the driver so that its call of this number fails, valid until the next. */
const char *cuda_failure(uint32_t at, uint32_t result);

void cuda_model_make(opencl_model *out_model);

/* With opencl_model_make_dynamic's sizes. */
void cuda_model_make_dynamic(opencl_model *out_model);

/* `device` is a part of its name, or NULL. */
ec_status cuda_model_open(const opencl_model *model, const char *device,
                          ec_session **out_session);

#endif /* EDGECOMP_TESTS_RUNTIME_CUDA_MODEL_H */
