output "address" {
  description = "What connect() takes, from inside of the named networks."
  value       = "tls://${aws_instance.scheduler.private_ip}:8786"
}

output "forward" {
  description = "Brings the scheduler to 127.0.0.1:8786 of this machine: then connect(\"tls://127.0.0.1:8786\", security=\"keys/client\")."
  value       = "aws ssm start-session --target ${aws_instance.scheduler.id} --document-name AWS-StartPortForwardingSession --parameters portNumber=8786,localPortNumber=8786"
}

output "dashboard" {
  description = "Brings the dashboard, which listens on the scheduler's loopback, to http://127.0.0.1:8787."
  value       = "aws ssm start-session --target ${aws_instance.scheduler.id} --document-name AWS-StartPortForwardingSession --parameters portNumber=8787,localPortNumber=8787"
}

output "workers" {
  description = "Auto Scaling group of the workers: set its desired capacity, or the variable workers."
  value       = aws_autoscaling_group.workers.name
}
