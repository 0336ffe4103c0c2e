// For a file that includes CUDA's own header: cuda.h, which says all, comes before everything.
