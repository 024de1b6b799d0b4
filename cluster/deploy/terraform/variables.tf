variable "name" {
  description = "What the cluster is called; every resource carries it."
  type        = string
  default     = "rasterloom"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,23}$", var.name))
    error_message = "Use 2 to 24 lower-case letters, digits and hyphens, a letter first."
  }
}

variable "subnet_id" {
  description = "Private subnet for all machines. It needs a way out, to install packages and to read rasters."
  type        = string
}

variable "client_cidr_blocks" {
  description = "Networks from which clients reach the scheduler, such as the VPN's. Empty: through Session Manager only."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for block in var.client_cidr_blocks : can(cidrhost(block, 0)) && !can(regex("/0$", block))])
    error_message = "Give networks as 10.8.0.0/16. The whole internet (/0) is refused: keys are the second wall, not the only one."
  }
}

variable "package" {
  description = "What pip installs on every machine: a version, or the address of a wheel that the machines can read."
  type        = string
  default     = "rasterloom[s3]"
}

variable "keys" {
  description = "S3 folder with scheduler/ and worker/ as 'rasterloom cluster certs' makes them, without the authority's: s3://bucket/keys."
  type        = string

  validation {
    condition     = can(regex("^s3://[a-z0-9.-]+/[^ ]*[^/ ]$", var.keys))
    error_message = "Give it as s3://bucket/folder, without a slash at the end."
  }
}

variable "read_buckets" {
  description = "Buckets that workers read rasters and models from."
  type        = list(string)
  default     = []
}

variable "write_buckets" {
  description = "Buckets that workers read from and write results to."
  type        = list(string)
  default     = []
}

variable "scheduler_type" {
  description = "Machine of the scheduler. It computes nothing; 4 GB of memory serve hundreds of workers."
  type        = string
  default     = "t3.medium"
}

variable "scheduler_image" {
  description = "Image of the scheduler: an SSM parameter that holds its id. Python is to be of the same minor version everywhere."
  type        = string
  default     = "/aws/service/canonical/ubuntu/server/24.04/stable/current/amd64/hvm/ebs-gp3/ami-id"
}

variable "worker_types" {
  description = "Machines of the workers, all with as many GPUs and about as much memory. Several types find spot capacity sooner."
  type        = list(string)
  default     = ["g6.2xlarge", "g5.2xlarge"]

  validation {
    condition     = length(var.worker_types) > 0
    error_message = "Name at least one type of machine."
  }
}

variable "worker_image" {
  description = "Image of the workers: an SSM parameter that holds its id. With GPUs: one with NVIDIA's driver and Python 3.11 or newer."
  type        = string
  default     = "/aws/service/deeplearning/ami/x86_64/base-oss-nvidia-driver-gpu-ubuntu-24.04/latest/ami-id"
}

variable "workers" {
  description = "Machines that work. Change it while a run goes on: workers may come and go. 0 keeps the scheduler only."
  type        = number
  default     = 2

  validation {
    condition     = var.workers >= 0 && floor(var.workers) == var.workers
    error_message = "Use a whole number, 0 or more."
  }
}

variable "spot" {
  description = "Whether workers are spot machines, which cost a third and may be taken away. The scheduler never is."
  type        = bool
  default     = true
}

variable "disk_gb" {
  description = "Disk of each worker, for the system, PyTorch and what workers spill."
  type        = number
  default     = 100
}
