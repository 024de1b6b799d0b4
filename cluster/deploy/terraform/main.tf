# A scheduler and a group of GPU workers in one private subnet. No machine has a public address, a password, an
# SSH port or a key in its user data: machines fetch their keys from S3 with rights of their own, and people come in
# through Session Manager or the networks that are named.

data "aws_subnet" "this" {
  id = var.subnet_id
}

# AWS has other names in its ARNs in China and for governments.
data "aws_partition" "this" {}

data "aws_ssm_parameter" "scheduler_image" {
  name = var.scheduler_image
}

data "aws_ssm_parameter" "worker_image" {
  name = var.worker_image
}

locals {
  # s3://bucket/folder -> the ARN of bucket/folder
  keys_arn = "arn:${data.aws_partition.this.partition}:s3:::${trimprefix(var.keys, "s3://")}"

  # The same files that any cloud takes, with the lines that name things filled in.
  scheduler_config = replace(replace(file("${path.module}/../cloud-init/scheduler.yaml"),
    "PACKAGE='rasterloom[s3]'", "PACKAGE='${var.package}'"),
  "KEYS=''", "KEYS='${var.keys}/scheduler'")

  worker_config = replace(replace(replace(file("${path.module}/../cloud-init/worker.yaml"),
    "PACKAGE='rasterloom[s3]'", "PACKAGE='${var.package}'"),
    "KEYS=''", "KEYS='${var.keys}/worker'"),
  "tls://SCHEDULER:8786", "tls://${aws_instance.scheduler.private_ip}:8786")
}

# Who reaches whom

resource "aws_security_group" "cluster" {
  name_prefix = "${var.name}-"
  description = "Machines of the Dask cluster ${var.name}"
  vpc_id      = data.aws_subnet.this.vpc_id
  tags        = { Name = var.name }

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_vpc_security_group_ingress_rule" "scheduler_from_members" {
  security_group_id            = aws_security_group.cluster.id
  referenced_security_group_id = aws_security_group.cluster.id
  description                  = "Workers to the scheduler, TLS"
  ip_protocol                  = "tcp"
  from_port                    = 8786
  to_port                      = 8786
}

resource "aws_vpc_security_group_ingress_rule" "workers_from_members" {
  security_group_id            = aws_security_group.cluster.id
  referenced_security_group_id = aws_security_group.cluster.id
  description                  = "Scheduler and workers to workers, TLS: --worker-ports of the units"
  ip_protocol                  = "tcp"
  from_port                    = 9000
  to_port                      = 9063
}

resource "aws_vpc_security_group_ingress_rule" "scheduler_from_clients" {
  for_each = toset(var.client_cidr_blocks)

  security_group_id = aws_security_group.cluster.id
  cidr_ipv4         = each.value
  description       = "Clients to the scheduler, TLS"
  ip_protocol       = "tcp"
  from_port         = 8786
  to_port           = 8786
}

resource "aws_vpc_security_group_egress_rule" "out" {
  security_group_id = aws_security_group.cluster.id
  cidr_ipv4         = "0.0.0.0/0"
  description       = "Packages, rasters, results"
  ip_protocol       = "-1"
}

# Who may read what

data "aws_iam_policy_document" "machine" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["ec2.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "node" {
  for_each = toset(["scheduler", "worker"])

  name_prefix        = "${var.name}-${each.key}-"
  assume_role_policy = data.aws_iam_policy_document.machine.json
}

data "aws_iam_policy_document" "keys" {
  for_each = aws_iam_role.node

  # Each role reads its own folder, and nobody the authority's.
  statement {
    actions   = ["s3:GetObject"]
    resources = [for file in ["ca.pem", "cert.pem", "key.pem"] : "${local.keys_arn}/${each.key}/${file}"]
  }
}

resource "aws_iam_role_policy" "keys" {
  for_each = aws_iam_role.node

  name_prefix = "keys-"
  role        = each.value.id
  policy      = data.aws_iam_policy_document.keys[each.key].json
}

data "aws_iam_policy_document" "data" {
  count = length(var.read_buckets) + length(var.write_buckets) > 0 ? 1 : 0

  statement {
    actions   = ["s3:ListBucket"]
    resources = [for bucket in concat(var.read_buckets, var.write_buckets) : "arn:${data.aws_partition.this.partition}:s3:::${bucket}"]
  }

  statement {
    actions   = ["s3:GetObject"]
    resources = [for bucket in concat(var.read_buckets, var.write_buckets) : "arn:${data.aws_partition.this.partition}:s3:::${bucket}/*"]
  }

  dynamic "statement" {
    for_each = length(var.write_buckets) > 0 ? [1] : []

    content {
      actions   = ["s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"]
      resources = [for bucket in var.write_buckets : "arn:${data.aws_partition.this.partition}:s3:::${bucket}/*"]
    }
  }
}

resource "aws_iam_role_policy" "data" {
  count = length(data.aws_iam_policy_document.data)

  name_prefix = "data-"
  role        = aws_iam_role.node["worker"].id
  policy      = data.aws_iam_policy_document.data[0].json
}

resource "aws_iam_role_policy_attachment" "session_manager" {
  for_each = aws_iam_role.node

  role       = each.value.name
  policy_arn = "arn:${data.aws_partition.this.partition}:iam::aws:policy/AmazonSSMManagedInstanceCore"
}

resource "aws_iam_instance_profile" "node" {
  for_each = aws_iam_role.node

  name_prefix = "${var.name}-${each.key}-"
  role        = each.value.name
}

# The machines

resource "aws_instance" "scheduler" {
  ami                         = nonsensitive(data.aws_ssm_parameter.scheduler_image.value)
  instance_type               = var.scheduler_type
  subnet_id                   = var.subnet_id
  vpc_security_group_ids      = [aws_security_group.cluster.id]
  iam_instance_profile        = aws_iam_instance_profile.node["scheduler"].name
  associate_public_ip_address = false
  user_data_base64            = base64gzip(local.scheduler_config)
  user_data_replace_on_change = true
  tags                        = { Name = "${var.name}-scheduler" }

  metadata_options {
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }

  root_block_device {
    encrypted   = true
    volume_size = 30
    volume_type = "gp3"
  }

  lifecycle {
    # A newer image is no reason to end what runs.
    ignore_changes = [ami]
  }

  # Its keys must be readable when it boots.
  depends_on = [aws_iam_role_policy.keys]
}

resource "aws_launch_template" "worker" {
  name_prefix            = "${var.name}-worker-"
  image_id               = nonsensitive(data.aws_ssm_parameter.worker_image.value)
  vpc_security_group_ids = [aws_security_group.cluster.id]
  user_data              = base64gzip(local.worker_config)
  update_default_version = true

  iam_instance_profile {
    arn = aws_iam_instance_profile.node["worker"].arn
  }

  metadata_options {
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }

  block_device_mappings {
    device_name = "/dev/sda1"

    ebs {
      encrypted             = true
      volume_size           = var.disk_gb
      volume_type           = "gp3"
      delete_on_termination = true
    }
  }

  tag_specifications {
    resource_type = "instance"
    tags          = { Name = "${var.name}-worker" }
  }
}

resource "aws_autoscaling_group" "workers" {
  name_prefix         = "${var.name}-workers-"
  vpc_zone_identifier = [var.subnet_id]
  min_size            = 0
  max_size            = max(var.workers, 1)
  desired_capacity    = var.workers
  # A spot machine that is likely to be taken away gets a successor before it goes.
  capacity_rebalance = var.spot
  health_check_type  = "EC2"

  mixed_instances_policy {
    instances_distribution {
      on_demand_base_capacity                  = 0
      on_demand_percentage_above_base_capacity = var.spot ? 0 : 100
      spot_allocation_strategy                 = "price-capacity-optimized"
    }

    launch_template {
      launch_template_specification {
        launch_template_id = aws_launch_template.worker.id
        version            = aws_launch_template.worker.latest_version
      }

      dynamic "override" {
        for_each = var.worker_types

        content {
          instance_type = override.value
        }
      }
    }
  }

  # Their keys must be readable when they boot.
  depends_on = [aws_iam_role_policy.keys, aws_iam_role_policy.data]
}
